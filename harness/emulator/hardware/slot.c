/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "slot.h"
#include "bytes.h"
#include "debugger.h"
#include "layout.h"

void hw_slot_add(struct hw *hw, const struct hw_slot *slot)
{
	u64 entries = (u64)hw_take(hw, slot->size / PAGE_SIZE * sizeof(struct rmp_entry), PAGE_SIZE);

	if (hw->slots == HW_SLOTS || !rmp_cover(&hw->rmp, slot->spa, slot->size, (struct rmp_entry *)entries))
		hw_fail(&hw->cpu[0], "too many memory regions", __LINE__);
	hw->slot[hw->slots++] = *slot;
	debugger_add_slot(hw, slot, (struct rmp_entry *)entries);
}

struct hw_slot *slot_of(struct hw *hw, u64 gpa)
{
	for (u32 i = 0; i < hw->slots; i++) {
		struct hw_slot *slot = &hw->slot[i];

		if (gpa - slot->gpa < slot->size)
			return slot;
	}
	return NULL;
}

u8 *slot_private(struct hw *hw, u64 gpa, u64 size)
{
	const struct hw_slot *slot = slot_of(hw, gpa);

	if (!slot || size > slot->size || gpa - slot->gpa > slot->size - size)
		return NULL;
	return (u8 *)(PHYSICAL_WINDOW + hw_slot_spa(slot, gpa, false));
}

bool slot_uniform(const struct hw *hw, const struct hw_slot *slot, u64 gpa)
{
	u64 start = gpa & ~(PAGE_SIZE_2M - 1);
	const u8 *nested = &slot->nested[(start - slot->gpa) / PAGE_SIZE];

	return pages_alike(nested) && rmp_uniform(&hw->rmp, hw_slot_spa(slot, start, false));
}

u32 slot_bits(const struct hw *hw, const struct hw_slot *slot, u64 gpa)
{
	u32 bits = rmp_entry(&hw->rmp, hw_slot_spa(slot, gpa, false))->bits;

	return !bits && slot_nested(slot, gpa) == HW_SHARED ? RMP_SHARED : bits;
}

u32 hw_observe_rmp(struct hw *hw, u64 gpa)
{
	const struct hw_slot *slot = slot_of(hw, gpa);

	return slot ? slot_bits(hw, slot, gpa) : 0;
}

/* RMPUPDATE. Without encryption the hypervisor would read what the guest has written. */
enum hw_rmp_result hw_rmpupdate(struct hw *hw, u64 spa, const struct hw_rmp_entry *entry)
{
	const struct rmp_entry *at = rmp_entry(&hw->rmp, spa);
	bool scramble = at && (at->bits & RMP_VALIDATED) && !entry->assigned && !entry->large;
	enum hw_rmp_result result = rmp_update(&hw->rmp, spa, entry);

	if (scramble && result == HW_RMP_OK)
		memset((void *)(PHYSICAL_WINDOW + spa), SCRAMBLED, PAGE_SIZE);
	return result;
}

enum hw_rmp_result hw_psmash(struct hw *hw, u64 spa) { return rmp_psmash(&hw->rmp, spa); }
bool hw_rmpread(struct hw *hw, u64 spa, struct hw_rmp_entry *entry) { return rmp_read(&hw->rmp, spa, entry); }
