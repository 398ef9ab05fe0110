/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A plain guest's access to the APIC page: without #VC, the hypervisor carries out the instruction. */
#ifndef SNP_MMIO_EMULATE_H
#define SNP_MMIO_EMULATE_H

#include "vcpu.h"

/* `access` carries out the reads and writes. */
typedef bool mmio_function(struct vcpu *vcpu, u64 gpa, u32 size, bool write, u64 *value, u64 pc);
void mmio_emulate(struct vcpu *vcpu, u64 gpa, mmio_function *access);

#endif
