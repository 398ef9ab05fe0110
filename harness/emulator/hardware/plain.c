/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A guest without SEV-ES: the hypervisor reads and writes its registers. */
#include "guest.h"

struct vmcb_save *hw_plain_registers(struct hw_cpu *cpu) { return cpu->hw->es ? NULL : &vmcb(cpu)->save; }
u64 *hw_plain_gprs(struct hw_cpu *cpu) { return cpu->hw->es ? NULL : current(cpu)->gpr; }
u32 hw_plain_code(struct hw_cpu *cpu, u8 *bytes, u32 size) { return cpu->hw->es ? 0 : guest_code(cpu, bytes, size); }
u32 hw_plain_mode(struct hw_cpu *cpu) { return guest_mode_bits(cpu); }

void hw_plain_step(struct hw_cpu *cpu, u32 length)
{
	if (!cpu->hw->es)
		guest_skip(cpu, length);
}

void hw_plain_step_over(struct hw_cpu *cpu) { hw_plain_step(cpu, guest_instruction(cpu)->length); }

void hw_plain_intercept_iret(struct hw_cpu *cpu, bool on)
{
	u32 *intercepts = &vmcb(cpu)->control.intercept_misc1;

	*intercepts = on ? *intercepts | (u32)SVM_INTERCEPT_IRET : *intercepts & ~(u32)SVM_INTERCEPT_IRET;
}

void hw_plain_run_one(struct hw_cpu *cpu)
{
	struct hw_vmpl *state = current(cpu);
	struct vmcb_save *save = &state->vmcb->save;

	state->stepped = save->rflags & RFLAGS_TF;
	state->vmcb->control.intercept_exception |= (u32)SVM_INTERCEPT_EXC_DB;
	save->rflags |= RFLAGS_TF;
}

#define STEP_RFLAGS ((u64)(RFLAGS_TF | RFLAGS_IF))

void hw_plain_step_begin(struct hw_cpu *cpu)
{
	struct vmcb *page = vmcb(cpu);
	struct step *step = &cpu->hw->step;

	step->before = page->save;
	step->intercepts = page->control.intercept_exception;
	page->control.intercept_exception = ~0u;
	page->save.rflags = (page->save.rflags & ~STEP_RFLAGS) | RFLAGS_TF;
}

void hw_plain_step_end(struct hw_cpu *cpu, bool executed)
{
	struct vmcb *page = vmcb(cpu);
	const struct step *step = &cpu->hw->step;
	u64 rflags = step->before.rflags & STEP_RFLAGS;

	page->control.intercept_exception = step->intercepts;
	/* The jump raises #GP (APM vol. 3, JMP, CALL, RET); TCG raises it at the target. */
	if (executed && guest_mode_bits(cpu) == 64 && !guest_is_canonical(cpu, page->save.rip)) {
		page->save = step->before;
		guest_exception(cpu, X86_GP, true, 0);
		return;
	}
	page->save.rflags = (page->save.rflags & ~STEP_RFLAGS) | rflags;
	if (executed && (rflags & RFLAGS_TF))
		guest_exception(cpu, X86_DB, false, 0);
	else if (executed)
		page->save.dr6 &= ~DR6_BS;
}

/* #DF, #TS, #NP, #SS, #GP, #PF and #AC (APM vol. 2, 8.2). */
#define WITH_ERROR_CODE (BIT(8) | BIT(10) | BIT(11) | BIT(12) | BIT(13) | BIT(14) | BIT(17))

/* CR2 is EXITINFO2 (APM vol. 2, 15.12). */
void hw_plain_exception(struct hw_cpu *cpu, const struct hw_exit *exit)
{
	u8 vector = (u8)(exit->code - SVM_EXIT_EXCEPTION);

	if (vector == X86_PF)
		vmcb(cpu)->save.cr2 = exit->info2;
	guest_exception(cpu, vector, WITH_ERROR_CODE & BIT(vector), (u32)exit->info1);
}

/* IRET has loaded the guest's own TF. */
void hw_plain_has_run_one(struct hw_cpu *cpu)
{
	struct hw_vmpl *state = current(cpu);

	state->vmcb->control.intercept_exception &= ~(u32)SVM_INTERCEPT_EXC_DB;
	if (state->stepped)
		guest_exception(cpu, X86_DB, false, 0);
	else
		state->vmcb->save.dr6 &= ~DR6_BS;
}
