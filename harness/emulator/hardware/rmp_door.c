/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The hypervisor's instructions for the RMP. */
#include "bytes.h"
#include "cpu.h"
#include "layout.h"

/* Without encryption the hypervisor would read what the guest has written. */
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
