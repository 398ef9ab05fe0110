/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The security processor's commands (publication 56860, section 8). */
#include "bytes.h"
#include "cpu.h"
#include "slot.h"
#include "x86.h"

/* The pages are assigned and validated, without permissions for VMPL1-3. */
static void launch_pages(struct hw *hw, u64 gpa, u64 size)
{
	for (u64 page = gpa; page < gpa + size; page += PAGE_SIZE) {
		const struct hw_slot *slot = slot_of(hw, page);
		struct rmp_entry *entry = slot ? rmp_entry(&hw->rmp, hw_slot_spa(slot, page, false)) : NULL;

		if (entry && (entry->bits & RMP_ASSIGNED))
			entry->bits |= RMP_VALIDATED;
	}
}

static void launch_vmsa(const struct hw_psp_command *command)
{
	struct hw_vmpl *state = &command->cpu->state[command->vmpl];

	state->vmcb->save = *command->save;
	memcpy(state->gpr, command->gpr, sizeof(state->gpr));
}

static void launch_secrets(struct hw *hw, u64 gpa)
{
	u8 *page = slot_private(hw, gpa, PAGE_SIZE);

	if (!page)
		return;
	psp_guest_secrets(&hw->psp, cpuid(1, 0).eax, (struct snp_secrets *)page);
	launch_pages(hw, gpa, PAGE_SIZE);
}

void hw_psp(struct hw *hw, const struct hw_psp_command *command)
{
	switch (command->code) {
	case HW_PSP_LAUNCH_PAGES: launch_pages(hw, command->gpa, command->size); break;
	case HW_PSP_LAUNCH_SECRETS: launch_secrets(hw, command->gpa); break;
	case HW_PSP_LAUNCH_VMSA: launch_vmsa(command); break;
	}
}
