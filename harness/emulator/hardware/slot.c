/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "slot.h"
#include "layout.h"

void hw_slot_add(struct hw *hw, const struct hw_slot *slot)
{
	u64 entries = (u64)take(hw, slot->size / PAGE_SIZE * sizeof(struct rmp_entry), PAGE_SIZE);

	if (hw->slots == HW_SLOTS || !rmp_cover(&hw->rmp, slot->spa, slot->size, (struct rmp_entry *)entries))
		hw_fail(&hw->cpu[0], "too many memory regions", __LINE__);
	hw->slot[hw->slots++] = (struct slot){ .gpa = slot->gpa, .size = slot->size, .spa = slot->spa,
					       .shared_spa = slot->shared_spa, .nested = slot->nested };
}

struct slot *slot_of(struct hw *hw, u64 gpa)
{
	for (u32 i = 0; i < hw->slots; i++) {
		struct slot *slot = &hw->slot[i];

		if (gpa - slot->gpa < slot->size)
			return slot;
	}
	return NULL;
}

u64 slot_spa(const struct slot *slot, u64 gpa, bool shared)
{
	return (shared ? slot->shared_spa : slot->spa) + (gpa - slot->gpa);
}

u8 *slot_private(struct hw *hw, u64 gpa, u64 size)
{
	const struct slot *slot = slot_of(hw, gpa);

	if (!slot || size > slot->size || gpa - slot->gpa > slot->size - size)
		return NULL;
	return (u8 *)(PHYSICAL_WINDOW + slot_spa(slot, gpa, false));
}

bool slot_large_possible(const struct slot *slot, u64 gpa)
{
	u64 start = gpa & ~(PAGE_SIZE_2M - 1);

	return start >= slot->gpa && start + PAGE_SIZE_2M <= slot->gpa + slot->size &&
	       !(slot_spa(slot, start, false) & (PAGE_SIZE_2M - 1));
}

bool slot_uniform(const struct hw *hw, const struct slot *slot, u64 gpa)
{
	u64 start = gpa & ~(PAGE_SIZE_2M - 1);
	const u8 *nested = &slot->nested[(start - slot->gpa) / PAGE_SIZE];

	return pages_alike(nested) && rmp_uniform(&hw->rmp, slot_spa(slot, start, false));
}

u32 slot_bits(const struct hw *hw, const struct slot *slot, u64 gpa)
{
	u32 bits = rmp_entry(&hw->rmp, slot_spa(slot, gpa, false))->bits;

	return !bits && slot_nested(slot, gpa) == HW_SHARED ? RMP_SHARED : bits;
}

u32 hw_observe_rmp(struct hw *hw, u64 gpa)
{
	const struct slot *slot = slot_of(hw, gpa);

	return slot ? slot_bits(hw, slot, gpa) : 0;
}
