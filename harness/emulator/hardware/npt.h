/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Nested page tables for QEMU: the hypervisor's mapping, the RMP and the C-bit composed, one tree a VMPL. */
#ifndef SNP_HW_NPT_H
#define SNP_HW_NPT_H

#include "cpu.h"

#define NPT_PRESENT 0x01ull
#define NPT_WRITE   0x02ull
#define NPT_USER    0x04ull
#define NPT_ACCESSED_DIRTY 0x60ull
#define NPT_LARGE   0x80ull
#define NPT_NX      BIT(63)
#define NPT_RWX     (NPT_PRESENT | NPT_WRITE | NPT_USER | NPT_ACCESSED_DIRTY)

void npt_setup(struct hw *hw);
u64 npt_root(const struct hw_cpu *cpu); /* for the paging mode that the guest is in */
bool npt_is_unpaged(const struct hw_cpu *cpu); /* every access is private */
/* Where an address, with its C-bit, is mapped; false: an access would be an #NPF. */
bool npt_find(struct hw *hw, u32 vmpl, u64 address, bool write, u64 *spa);
void npt_map(struct hw *hw, u32 vmpl, bool private_view, u64 gpa, u64 spa, bool large, u64 bits);

#endif
