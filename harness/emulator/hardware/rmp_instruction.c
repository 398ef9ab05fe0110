/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "rmp_instruction.h"
#include "access.h"
#include "event.h"
#include "guest.h"
#include "sev.h"
#include "slot.h"

#define FIRST_TRY ~0u /* in hw_cpu.before: no entry */

static void log_change(struct hw_cpu *cpu, const struct hw_slot *slot, u64 gpa, enum record_rmp_op op, bool large, u32 result)
{
	if (log_at(cpu, 1))
		hw_log(cpu, (struct record){ .kind = RECORD_RMP_CHANGE, .rip = hw_observe_pc(cpu), .address = gpa,
					     .value = slot_bits(cpu->hw, slot, gpa), .extra = cpu->before, .aux = op, .size = large,
					     .outcome = result ? RECORD_ERROR : RECORD_OK });
}

static bool is_addressable(const struct hw_slot *slot, u64 gpa, bool large)
{
	if (!slot || (gpa & ((large ? PAGE_SIZE_2M : PAGE_SIZE) - 1)))
		return false;
	return !large || hw_slot_large_possible(slot, gpa);
}

/* The operands of one PVALIDATE or RMPADJUST. */
struct operation {
	bool pvalidate;
	bool large;
	u64 linear;
	u64 rdx;
};

static enum rmp_fault pvalidate(struct hw_cpu *cpu, const struct hw_slot *slot, u64 gpa, const struct operation *operation,
				u32 *result, bool *unchanged)
{
	struct rmp_owner owner = { .gpa = gpa, .asid = HW_ASID };
	bool large = operation->large, validate = operation->rdx & 1;
	enum rmp_fault fault;
	u32 bits;

	*unchanged = true;
	*result = SEV_FAIL_PERMISSION;
	if (cpu->vmpl)
		return RMP_OK;
	*result = SEV_FAIL_INPUT;
	if (!is_addressable(slot, gpa, large))
		return RMP_OK;
	bits = slot_bits(cpu->hw, slot, gpa);
	if (cpu->before == FIRST_TRY)
		cpu->before = bits;
	*result = SEV_FAIL_SIZEMISMATCH;
	if (large && !(bits & RMP_LARGE) && (bits || !slot_uniform(cpu->hw, slot, gpa)))
		return RMP_OK; /* there are 4 KiB pages in it */
	fault = rmp_validate(&cpu->hw->rmp, hw_slot_spa(slot, gpa, false), owner, large, validate, result, unchanged);
	if (fault)
		return fault;
	if (!*unchanged)
		hw_invalidate(cpu->hw, gpa, large);
	log_change(cpu, slot, gpa, validate ? RECORD_RMP_PVALIDATE : RECORD_RMP_RESCIND, large, *result);
	return RMP_OK;
}

static enum rmp_fault rmpadjust(struct hw_cpu *cpu, const struct hw_slot *slot, u64 gpa, const struct operation *operation,
				u32 *result)
{
	struct rmp_owner owner = { .gpa = gpa, .asid = HW_ASID };
	bool large = operation->large;
	u64 attributes = operation->rdx;
	u32 target = attributes & SEV_RMPADJUST_VMPL_MASK;
	enum rmp_fault fault;
	u32 bits;

	*result = SEV_FAIL_INPUT;
	if (target >= CONFIG_VMPLS || !is_addressable(slot, gpa, false) || (large && (gpa & (PAGE_SIZE_2M - 1))) ||
	    ((attributes & SEV_RMPADJUST_VMSA) && large))
		return RMP_OK;
	*result = SEV_FAIL_PERMISSION;
	if (target <= cpu->vmpl)
		return RMP_OK;
	bits = slot_bits(cpu->hw, slot, gpa);
	if (cpu->before == FIRST_TRY)
		cpu->before = bits;
	fault = rmp_adjust(&cpu->hw->rmp, hw_slot_spa(slot, gpa, false), owner, cpu->vmpl, large, attributes, result);
	if (fault == RMP_NOT_VALIDATED) {
		access_violation(cpu, gpa | cpu->hw->c_bit, bits, 0, RECORD_VIOLATION_NOT_VALIDATED);
		return RMP_OK;
	}
	if (fault || *result == SEV_FAIL_PERMISSION)
		return fault;
	if (*result == SEV_SUCCESS)
		hw_invalidate(cpu->hw, gpa, large);
	log_change(cpu, slot, gpa, RECORD_RMP_RMPADJUST, large, *result);
	return RMP_OK;
}

static void set_result(struct hw_cpu *cpu, u32 result, bool carry)
{
	struct vmcb_save *save = &vmcb(cpu)->save;

	save->rax = result;
	save->rflags = (save->rflags & ~RFLAGS_CF) | (carry ? RFLAGS_CF : 0);
}

/* False: with #PF, or with an #NPF for the hypervisor, after which it is repeated. */
static bool carry_out(struct hw_cpu *cpu, const struct operation *operation, struct hw_exit *exit, u32 *result, bool *unchanged)
{
	u64 gpa = guest_physical(cpu, operation->linear);
	const struct hw_slot *slot;
	enum rmp_fault fault;

	*unchanged = false;
	if (gpa == NO_GPA) {
		vmcb(cpu)->save.cr2 = operation->linear;
		guest_exception(cpu, X86_PF, true, 0);
		return false;
	}
	gpa &= ~cpu->hw->c_bit & ~(PAGE_SIZE - 1); /* bits 11:0 are ignored; 20:12 of a 2 MiB page are not */
	slot = slot_of(cpu->hw, gpa);
	if (operation->pvalidate)
		fault = pvalidate(cpu, slot, gpa, operation, result, unchanged);
	else
		fault = rmpadjust(cpu, slot, gpa, operation, result);
	if (fault) {
		exit->code = SVM_EXIT_NPF;
		exit->info1 = SVM_NPF_RMP | SVM_NPF_ENC | (fault == RMP_SIZE ? SVM_NPF_SIZEM : 0);
		exit->info2 = gpa;
		cpu->retry = RETRY_INSTRUCTION;
		return false;
	}
	*unchanged = *unchanged && *result == SEV_SUCCESS;
	return true;
}

/* The page behind the linear address in RAX. */
static void single(struct hw_cpu *cpu, struct hw_exit *exit)
{
	const u64 *gpr = current(cpu)->gpr;
	struct operation operation = { .pvalidate = cpu->which == INSN_SIMPLE_PVALIDATE, .large = gpr[HW_RCX] & 1,
				       .linear = vmcb(cpu)->save.rax, .rdx = gpr[HW_RDX] };
	bool unchanged;
	u32 result;

	if (!carry_out(cpu, &operation, exit, &result, &unchanged))
		return;
	set_result(cpu, result, unchanged);
	guest_skip(cpu, cpu->length);
}

/* After a fault, the operations that are done are behind RSI, and the one that caused it is the next. */
static void batch(struct hw_cpu *cpu, struct hw_exit *exit)
{
	u64 *gpr = current(cpu)->gpr;
	bool unchanged = false;
	u32 result = SEV_SUCCESS;

	while (gpr[HW_RCX]) {
		struct sev_rmp_operation from;

		if (!guest_read(cpu, gpr[HW_RSI], &from, sizeof(from))) {
			vmcb(cpu)->save.cr2 = gpr[HW_RSI];
			guest_exception(cpu, X86_PF, true, 0);
			return;
		}
		struct operation operation = { .pvalidate = !(from.page & SEV_RMP_OPERATION_RMPADJUST),
					       .large = from.page & SEV_RMP_OPERATION_2M,
					       .linear = from.page & ~(PAGE_SIZE - 1), .rdx = from.rdx };

		if (!carry_out(cpu, &operation, exit, &result, &unchanged))
			return;
		unchanged = unchanged && !(from.page & SEV_RMP_OPERATION_IGNORE_CF);
		if (result || unchanged)
			break;
		gpr[HW_RSI] += sizeof(from);
		gpr[HW_RCX]--;
		cpu->before = FIRST_TRY;
	}
	set_result(cpu, result, unchanged);
	guest_skip(cpu, cpu->length);
}

void rmp_instruction_retry(struct hw_cpu *cpu, struct hw_exit *exit)
{
	exit->code = HW_EXIT_NONE;
	if (cpu->which == INSN_SIMPLE_RMP_BATCH)
		batch(cpu, exit);
	else
		single(cpu, exit);
}

void rmp_instruction(struct hw_cpu *cpu, enum insn_simple which, u8 length, struct hw_exit *exit)
{
	if (vmcb(cpu)->save.cpl) {
		guest_exception(cpu, X86_GP, true, 0);
		return;
	}
	cpu->which = (u8)which;
	cpu->length = length;
	cpu->before = FIRST_TRY;
	rmp_instruction_retry(cpu, exit);
}
