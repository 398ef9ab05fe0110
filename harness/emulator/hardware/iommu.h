/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The devices' accesses to guest memory: QEMU's IOMMU translates GPAs for them. They reach the pages that the hypervisor
 * shares and the RMP does not assign to the guest (APM vol. 2, 15.36.10), and nothing else: not the emulator's memory.
 */
#ifndef SNP_HW_IOMMU_H
#define SNP_HW_IOMMU_H

#include "cpu.h"

void iommu_update(struct hw *hw, u64 gpa, bool large); /* nested entries or the RMP of a page have changed */

#endif
