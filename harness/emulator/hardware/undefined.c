/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "undefined.h"
#include "guest.h"
#include "insn.h"
#include "rmp_instruction.h"
#include "xsave.h"

/* INVLPGB's operands (APM vol. 3): reserved bits of rAX, ECX and EDX, and the pages beyond the first one. */
#define INVLPGB_RAX_RESERVED 0xFC0u
#define INVLPGB_ECX_RESERVED 0x7FFF0000u
#define INVLPGB_EDX_RESERVED 0xF0000000u
#define INVLPGB_COUNT        0xFFFFu
#define INVLPGB_COUNT_MAX    7u /* of the SNP processors; KVM's CPUID 80000008 EDX does not tell guests */

static bool is_legal_invlpgb(const struct hw_vmpl *state)
{
	u64 rcx = state->gpr[HW_RCX];

	return !(state->vmcb->save.rax & INVLPGB_RAX_RESERVED) && !(rcx & INVLPGB_ECX_RESERVED) &&
	       !(state->gpr[HW_RDX] & INVLPGB_EDX_RESERVED) && (rcx & INVLPGB_COUNT) <= INVLPGB_COUNT_MAX;
}

/*
 * INVLPGB and TLBSYNC, which a guest with SEV-ES always has; its own ASID replaces the one in EDX (APM vol. 2, appendix B,
 * 090h). TCG's TLB is that of all vCPUs, and empty after each #VMEXIT.
 */
static void broadcast_flush(struct hw_cpu *cpu, enum insn_simple which, u8 length)
{
	if (vmcb(cpu)->save.cpl || (which == INSN_SIMPLE_INVLPGB && !is_legal_invlpgb(current(cpu))))
		guest_exception(cpu, X86_GP, true, 0);
	else
		guest_skip(cpu, length);
}

static bool has_batches(const struct hw_cpu *cpu, enum insn_simple which)
{
	return which == INSN_SIMPLE_RMP_BATCH && cpu->machine->config->rmp_batches && !cpu->vmpl;
}

void undefined_exit(struct hw_cpu *cpu, struct hw_exit *exit)
{
	u8 code[INSN_MAX_LENGTH] = { 0 };
	u32 available = guest_code(cpu, code, sizeof(code)), mode = guest_mode_bits(cpu);
	u8 length = 0;
	enum insn_simple which = insn_decode_simple(code, available, mode, &length);
	struct insn_extended insn;

	if (cpu->hw->snp && (which == INSN_SIMPLE_PVALIDATE || which == INSN_SIMPLE_RMPADJUST || has_batches(cpu, which)))
		rmp_instruction(cpu, which, length, exit);
	else if (which == INSN_SIMPLE_INVLPGB || which == INSN_SIMPLE_TLBSYNC)
		broadcast_flush(cpu, which, length);
	else if (!insn_decode_extended(code, available, mode, &insn) || insn.which == INSN_XRSTOR)
		guest_exception(cpu, X86_UD, false, 0);
	else
		xsave_instruction(cpu, &insn, exit);
}

static bool is_contributory(u64 vector) { return vector == X86_DE || (vector >= X86_TS && vector <= X86_GP); }

/* The #GP of an instruction, or of the delivery of the event that is still to be injected (APM vol. 2, 8.2.9). */
static void deliver_gp(struct hw_cpu *cpu, u32 error, struct hw_exit *exit)
{
	u64 event = vmcb(cpu)->control.event_inj, vector = event & SVM_EVENT_VECTOR;
	bool exception = (event & SVM_EVENT_VALID) && (event & SVM_EVENT_TYPE_MASK) == SVM_EVENT_EXCEPTION;

	if (exception && vector == X86_DF)
		exit->code = SVM_EXIT_SHUTDOWN;
	else if (exception && (is_contributory(vector) || vector == X86_PF))
		guest_exception(cpu, X86_DF, true, 0);
	else
		guest_exception(cpu, X86_GP, true, error);
}

void gp_exit(struct hw_cpu *cpu, struct hw_exit *exit)
{
	u32 error = (u32)vmcb(cpu)->control.exit_info1;
	u8 code[INSN_MAX_LENGTH] = { 0 };
	u32 available = hw_event_pending(cpu) ? 0 : guest_code(cpu, code, sizeof(code));
	struct insn_extended insn;

	if (!error && insn_decode_extended(code, available, guest_mode_bits(cpu), &insn) && insn.which == INSN_XRSTOR)
		xsave_instruction(cpu, &insn, exit);
	else
		deliver_gp(cpu, error, exit);
}
