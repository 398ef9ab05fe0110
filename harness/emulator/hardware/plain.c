/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A guest without SEV: the hypervisor reads and writes its registers. */
#include "bytes.h"
#include "guest.h"

struct vmcb_save *hw_plain_registers(struct hw_cpu *cpu) { return cpu->hw->sev ? NULL : &vmcb(cpu)->save; }
u64 *hw_plain_gprs(struct hw_cpu *cpu) { return cpu->hw->sev ? NULL : current(cpu)->gpr; }
u32 hw_plain_code(struct hw_cpu *cpu, u8 *bytes, u32 size) { return cpu->hw->sev ? 0 : guest_code(cpu, bytes, size); }
u32 hw_plain_mode(struct hw_cpu *cpu) { return guest_mode_bits(cpu); }

void hw_plain_step(struct hw_cpu *cpu, u32 length)
{
	if (!cpu->hw->sev)
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
