/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The ranges of guest memory, and the hypervisor's nested table of each. */
#ifndef SNP_HW_SLOT_H
#define SNP_HW_SLOT_H

#include "cpu.h"

struct hw_slot *slot_of(struct hw *hw, u64 gpa); /* NULL: no memory there */
u8 *slot_private(struct hw *hw, u64 gpa, u64 size); /* what private accesses see; NULL: not all in one range */
bool slot_uniform(const struct hw *hw, const struct hw_slot *slot, u64 gpa); /* nested entries and RMP of that 2 MiB page are alike */
u32 slot_bits(const struct hw *hw, const struct hw_slot *slot, u64 gpa); /* the RMP entry as records have it */

static inline enum hw_nested slot_nested(const struct hw_slot *slot, u64 gpa)
{
	return (enum hw_nested)(*hw_slot_nested(slot, gpa) & ~HW_UNMAPPED);
}

#endif
