/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guest memory: which GPAs have RAM behind them, and where. */
#ifndef SNP_MEMORY_H
#define SNP_MEMORY_H

#include "vcpu.h"

void *memory_take(struct hypervisor *hv, u64 size, u64 alignment); /* RAM of the emulator, zeroed; its address is physical */
void memory_setup(struct hypervisor *hv);
struct region *memory_region(struct hypervisor *hv, u64 gpa); /* NULL: no memory there */
u64 memory_spa(const struct region *region, u64 gpa, bool shared);
u8 *memory_page(const struct region *region, u64 gpa); /* what private accesses see, while the page is not the guest's */
u8 *memory_launch(struct hypervisor *hv, u64 gpa, u64 size); /* for the launch: not the guest's yet. NULL: not all in one region */
u8 *memory_shared(struct hypervisor *hv, u64 gpa, u64 size); /* NULL: not all in one region, or not all shared */

#endif
