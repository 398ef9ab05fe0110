/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The hashes of the kernel, initial RAM disk and command line that QEMU serves by fw_cfg, as QEMU's sev-guest puts them into
 * a guest's memory with kernel-hashes=on (target/i386/sev.c, sev_add_kernel_loader_hashes): firmware for which that counts
 * (edk2's AmdSev image) starts no other kernel.
 */
#ifndef SNP_KERNEL_HASHES_H
#define SNP_KERNEL_HASHES_H

#include "vcpu.h"

#define KERNEL_HASHES_SIZE 176 /* of the table, which is padded to 16 bytes */

/* Without a kernel there is no table: the memory stays as it is. */
void kernel_hashes_fill(struct hypervisor *hv, u8 *memory);

#endif
