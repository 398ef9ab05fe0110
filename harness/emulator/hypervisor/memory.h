/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guest memory: which GPAs have RAM, and its physical addresses. */
#ifndef SNP_MEMORY_H
#define SNP_MEMORY_H

#include "vcpu.h"

void memory_setup(struct hypervisor *hv);
struct hw_slot *memory_region(struct hypervisor *hv, u64 gpa); /* NULL: no memory there */
u8 *memory_page(const struct hw_slot *region, u64 gpa); /* what private accesses see, while the page is not the guest's */
u8 *memory_launch(struct hypervisor *hv, u64 gpa, u64 size); /* for the launch: not the guest's yet. NULL: not all in one region */
bool memory_is_at(const u8 *memory, u64 spa);
u8 *memory_shared(struct hypervisor *hv, u64 gpa, u64 size); /* NULL: not all in one region, or not all shared */

#endif
