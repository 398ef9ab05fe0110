/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The security processor's commands (publication 56860, section 8). */
#include "cpu.h"
#include "psp_message.h"
#include "slot.h"
#include "vmsa_switch.h"
#include "sev.h"
#include "x86.h"

/* The page is validated, without permissions for VMPL1-3. */
static bool launch_page(struct hw *hw, enum psp_page type, u64 gpa)
{
	const struct hw_slot *slot = slot_of(hw, gpa);
	struct rmp_entry *entry = slot ? rmp_entry(&hw->rmp, hw_slot_spa(slot, gpa, false)) : NULL;
	u8 *page = slot_private(hw, gpa, PAGE_SIZE);

	if (!page || !entry || !(entry->bits & RMP_ASSIGNED))
		return false;
	if (type == PSP_PAGE_SECRETS)
		psp_guest_secrets(&hw->psp, cpuid(1, 0).eax, (struct snp_secrets *)page);
	entry->bits |= RMP_VALIDATED;
	return true;
}

static enum psp_status launch_update(struct hw *hw, const struct hw_psp_command *command)
{
	for (u64 gpa = command->gpa; gpa < command->gpa + command->size; gpa += PAGE_SIZE) {
		if (!launch_page(hw, command->page, gpa))
			return PSP_INVALID_ADDRESS;
	}
	return psp_launch_pages(&hw->psp.launch, command->page, command->gpa, command->size / PAGE_SIZE, command->contents);
}

static enum psp_status launch_vmsa(struct hw *hw, const struct hw_psp_command *command)
{
	struct vmsa *vmsa = (struct vmsa *)command->contents;

	if (vmsa->vmpl || !(vmsa->efer & VMSA_EFER_SVME) || !(vmsa->sev_features & SEV_FEATURES_SNP))
		return PSP_INVALID_PARAM;
	vmsa_launch(command->cpu, vmsa);
	return psp_launch_pages(&hw->psp.launch, PSP_PAGE_VMSA, PSP_VMSA_GPA, 1, command->contents);
}

enum psp_status hw_psp(struct hw *hw, const struct hw_psp_command *command)
{
	switch (command->code) {
	case HW_PSP_LAUNCH_START:
		psp_launch_begin(&hw->psp.launch, command->policy);
		return PSP_SUCCESS;
	case HW_PSP_LAUNCH_UPDATE:
		return launch_update(hw, command);
	case HW_PSP_LAUNCH_VMSA:
		return launch_vmsa(hw, command);
	case HW_PSP_LAUNCH_FINISH:
		return psp_launch_finish(&hw->psp.launch, command->finish);
	case HW_PSP_GUEST_REQUEST:
		return psp_message(&hw->psp, command->request, command->response);
	}
	return PSP_INVALID_PARAM;
}
