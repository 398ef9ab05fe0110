/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "access.h"
#include "event.h"
#include "npt.h"
#include "observe.h"
#include "sev.h"
#include "slot.h"

#define PAGE_OF(gpa) ((gpa) & ~(PAGE_SIZE - 1))

void access_violation(struct hw_cpu *cpu, u64 gpa, u32 entry, u64 info, enum record_violation what)
{
	hw_observe_code(cpu, hw_observe_pc(cpu));
	hw_log(cpu, (struct record){ .kind = RECORD_RMP_VIOLATION, .rip = hw_observe_pc(cpu), .address = gpa, .value = info,
				     .extra = entry, .aux = what });
}

#define EXECUTE (SEV_PERM_EXECUTE_USER | SEV_PERM_EXECUTE_SUPERVISOR)

/* Only user code, or only the supervisor's, may be executed: a nested entry cannot express that. */
static bool is_split(u32 allowed) { return (allowed & EXECUTE) && (allowed & EXECUTE) != EXECUTE; }

/* `fetch`: an instruction fetch that is allowed at this CPL. */
static u64 permission_bits(u32 allowed, bool fetch)
{
	u64 bits = NPT_PRESENT | NPT_USER | NPT_ACCESSED_DIRTY;

	if (allowed & SEV_PERM_WRITE)
		bits |= NPT_WRITE;
	if (!(allowed & EXECUTE) || (is_split(allowed) && !fetch))
		bits |= NPT_NX;
	return bits;
}

/* As large as nested table and RMP allow. */
static bool map(struct hw_cpu *cpu, const struct hw_slot *slot, u64 gpa, bool shared, u64 bits)
{
	bool large = hw_slot_large_possible(slot, gpa) && slot_uniform(cpu->hw, slot, gpa);
	u64 page = gpa & ~((large ? PAGE_SIZE_2M : PAGE_SIZE) - 1);

	npt_map(cpu->hw, cpu->vmpl, !shared, page, hw_slot_spa(slot, page, shared), large, bits);
	return large;
}

static void map_page(struct hw_cpu *cpu, const struct hw_slot *slot, u64 gpa, bool private_view, u64 bits)
{
	npt_map(cpu->hw, cpu->vmpl, private_view, PAGE_OF(gpa), hw_slot_spa(slot, PAGE_OF(gpa), false), false, bits);
}

#define AROUND (32 * PAGE_SIZE)

/*
 * The pages around one that was mapped, if an access of the same kind to them would map them with the same bits, too:
 * without it each costs an #NPF of its own. Those that the hypervisor has unmapped, or that are mapped in another way, stay
 * as they are.
 */
static void map_around(struct hw_cpu *cpu, const struct hw_slot *slot, u64 around, bool shared, u32 entry, u64 bits)
{
	const struct hw *hw = cpu->hw;
	u64 start = around & ~(AROUND - 1), mapped;

	if (!hw->shortcuts)
		return;
	for (u64 gpa = start; gpa < start + AROUND; gpa += PAGE_SIZE) {
		struct rmp_owner owner = { .gpa = gpa, .asid = HW_ASID };
		u64 spa = hw_slot_spa(slot, gpa, shared);

		if (gpa - slot->gpa >= slot->size || (*hw_slot_nested(slot, gpa) & HW_UNMAPPED) || slot_bits(hw, slot, gpa) != entry)
			continue;
		if ((shared ? slot_nested(slot, gpa) == HW_SHARED : rmp_check(&hw->rmp, spa, owner, cpu->vmpl, 0, 0) == RMP_OK) &&
		    !npt_find(cpu->hw, cpu->vmpl, gpa | (shared ? 0 : hw->c_bit), false, &mapped))
			npt_map(cpu->hw, cpu->vmpl, !shared, gpa, spa, false, bits);
	}
}

static void to_hypervisor(struct hw_exit *exit, u64 gpa, u64 info)
{
	exit->code = SVM_EXIT_NPF;
	exit->info1 = info;
	exit->info2 = gpa;
}

static void forget_executable(struct hw_cpu *cpu, u32 i)
{
	u64 gpa = cpu->executable[i];

	cpu->executable[i] = NO_GPA;
	if (gpa != NO_GPA)
		hw_invalidate(cpu->hw, gpa, hw_slot_large_possible(slot_of(cpu->hw, gpa), gpa));
}

/* An instruction may be on two pages. */
static void remember_executable(struct hw_cpu *cpu, u64 gpa)
{
	forget_executable(cpu, 1);
	cpu->executable[1] = cpu->executable[0];
	cpu->executable[0] = gpa;
}

void access_after_exit(struct hw_cpu *cpu)
{
	const struct vmcb_control *control = &vmcb(cpu)->control;

	if (control->exit_code == SVM_EXIT_NPF && (control->exit_info1 & SVM_NPF_FETCH))
		return;
	forget_executable(cpu, 0);
	forget_executable(cpu, 1);
}

static void private_access(struct hw_cpu *cpu, const struct hw_slot *slot, u64 gpa, u64 info, struct hw_exit *exit)
{
	const struct hw *hw = cpu->hw;
	struct rmp_owner owner = { .gpa = gpa, .asid = HW_ASID };
	u64 spa = hw_slot_spa(slot, gpa, false);
	enum rmp_fault fault = !hw->snp ? RMP_OK : rmp_check(&hw->rmp, spa, owner, cpu->vmpl, vmcb(cpu)->save.cpl, info);
	u32 entry = slot_bits(hw, slot, gpa);
	u32 allowed = hw->snp ? rmp_permissions(entry, cpu->vmpl) : SEV_PERM_ALL;
	u64 bits;

	switch (fault) {
	case RMP_NOT_VALIDATED:
		access_violation(cpu, gpa | hw->c_bit, entry, info, RECORD_VIOLATION_NOT_VALIDATED);
		if (hw->strict)
			event_vc(cpu, SVM_EXIT_NOT_VALIDATED);
		else /* completed, not validated: a later PVALIDATE finds it unchanged */
			map_page(cpu, slot, gpa, true, NPT_RWX);
		return;
	case RMP_VMPL:
		access_violation(cpu, gpa | hw->c_bit, entry, info, RECORD_VIOLATION_VMPL);
		if (hw->strict) {
			to_hypervisor(exit, gpa, info | SVM_NPF_ENC | SVM_NPF_RMP | SVM_NPF_VMPL);
			return;
		}
		allowed = SEV_PERM_ALL;
		break;
	case RMP_OK:
		break;
	default:
		to_hypervisor(exit, gpa, info | SVM_NPF_ENC | SVM_NPF_RMP);
		return;
	}
	bits = permission_bits(allowed, info & SVM_NPF_FETCH);
	if (!map(cpu, slot, gpa, false, bits) && hw->snp && fault == RMP_OK && !is_split(allowed))
		map_around(cpu, slot, gpa, false, entry, bits);
	if (is_split(allowed) && (info & SVM_NPF_FETCH))
		remember_executable(cpu, gpa);
}

static void shared_access(struct hw_cpu *cpu, const struct hw_slot *slot, u64 gpa, u64 info, struct hw_exit *exit)
{
	u32 entry;

	entry = slot_bits(cpu->hw, slot, gpa);
	if (slot_nested(slot, gpa) == HW_SHARED) {
		if (!map(cpu, slot, gpa, true, NPT_RWX))
			map_around(cpu, slot, gpa, true, entry, NPT_RWX);
		return;
	}
	/* Page-table walks are private for any C-bit (APM vol. 2, 15.34.5); TCG's nested walk does not implement that. */
	if ((info & SVM_NPF_TABLE_WALK) && (entry & RMP_VALIDATED)) {
		map_page(cpu, slot, gpa, false, NPT_RWX);
		return;
	}
	/* So are instruction fetches; a write to the page is an access of its own. */
	if ((info & SVM_NPF_FETCH) && (entry & RMP_VALIDATED) && rmp_allows(rmp_permissions(entry, cpu->vmpl), vmcb(cpu)->save.cpl, info)) {
		map_page(cpu, slot, gpa, false, NPT_RWX & ~NPT_WRITE);
		return;
	}
	if (entry & RMP_VALIDATED)
		access_violation(cpu, gpa, entry, info, RECORD_VIOLATION_PRIVATE);
	to_hypervisor(exit, gpa, info | (entry & RMP_ASSIGNED ? SVM_NPF_RMP : 0));
}

static void access(struct hw_cpu *cpu, struct hw_exit *exit)
{
	const struct vmcb_control *control = &vmcb(cpu)->control;
	struct hw *hw = cpu->hw;
	u64 gpa = control->exit_info2 & ~hw->c_bit;
	u64 info = control->exit_info1;
	bool private = (control->exit_info2 & hw->c_bit) || npt_is_unpaged(cpu);
	const struct hw_slot *slot = slot_of(hw, gpa);

	if (!slot) {
		observe_mmio(cpu, gpa);
		to_hypervisor(exit, gpa, info | (private ? SVM_NPF_ENC : 0));
	} else if (*hw_slot_nested(slot, gpa) & HW_UNMAPPED) {
		to_hypervisor(exit, gpa, info | (private ? SVM_NPF_ENC : 0));
	} else if (private)
		private_access(cpu, slot, gpa, info, exit);
	else
		shared_access(cpu, slot, gpa, info, exit);
}

void access_fault(struct hw_cpu *cpu, struct hw_exit *exit)
{
	struct vmcb *page = vmcb(cpu);

	exit->code = HW_EXIT_NONE;
	/* The guest has turned paging on or off since the last #NPF. */
	if (page->control.nested_cr3 != npt_root(cpu)) {
		page->control.nested_cr3 = npt_root(cpu);
		return;
	}
	access(cpu, exit);
	cpu->retry = exit->code == HW_EXIT_NONE ? RETRY_NOTHING : RETRY_ACCESS;
}

void hw_nested_reserved(struct hw_cpu *cpu)
{
	const struct vmcb_control *control = &vmcb(cpu)->control;

	/* KVM cannot emulate it, and no #VC handler is there yet: the run would end on a real host, too. */
	if (npt_is_unpaged(cpu))
		hw_stop(cpu, RECORD_END_PRIVATE_MMIO, control->exit_info2 & ~cpu->hw->c_bit, control->exit_info1);
	if (control->exit_info2 & cpu->hw->c_bit)
		access_violation(cpu, control->exit_info2, 0, control->exit_info1, RECORD_VIOLATION_MMIO);
	event_vc(cpu, SVM_EXIT_NPF);
}

void hw_nested_device(struct hw_cpu *cpu, u64 gpa, u64 spa, bool writable)
{
	u64 bits = writable ? NPT_RWX : NPT_RWX & ~NPT_WRITE;

	npt_map(cpu->hw, cpu->vmpl, false, PAGE_OF(gpa), PAGE_OF(spa), false, bits);
	if (cpu->hw->encrypted && !cpu->hw->es) /* the C-bit is not a part of the GPA */
		npt_map(cpu->hw, cpu->vmpl, true, PAGE_OF(gpa), PAGE_OF(spa), false, bits);
}
