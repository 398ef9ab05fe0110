/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The registers of a processor after reset, INIT and SIPI (APM vol. 2, table 14-1). */
#include "bytes.h"
#include "cpu.h"
#include "x86.h"

#define RESET_CODE 0x9B /* segment attributes: present, code, read, accessed */

static void segment(struct vmcb_segment *to, u16 selector, u16 attributes, u64 base)
{
	*to = (struct vmcb_segment){ .selector = selector, .attributes = attributes, .limit = 0xFFFF, .base = base };
}

static void reset_registers(struct vmcb_save *save)
{
	struct vmcb_segment *data[] = { &save->es, &save->ss, &save->ds, &save->fs, &save->gs };

	segment(&save->cs, 0xF000, RESET_CODE, 0xFFFF0000);
	for (u32 i = 0; i < sizeof(data) / sizeof(data[0]); i++)
		segment(data[i], 0, 0x93, 0);
	segment(&save->gdtr, 0, 0, 0);
	segment(&save->idtr, 0, 0, 0);
	segment(&save->ldtr, 0, 0x82, 0);
	segment(&save->tr, 0, 0x8B, 0);
	save->efer = EFER_SVME;
	save->cr0 = CR0_RESET;
	save->dr6 = DR6_RESET;
	save->dr7 = DR7_RESET;
	save->rflags = 2;
	save->rip = 0xFFF0;
	save->g_pat = PAT_RESET;
}

void hw_reset(struct hw_cpu *cpu, u32 vmpl)
{
	reset_registers(&cpu->state[vmpl].vmcb->save);
	cpu->state[vmpl].gpr[HW_RDX] = cpuid(1, 0).eax;
}

/* INIT resets no MSR and no FPU. */
void hw_init(struct hw_cpu *cpu)
{
	struct hw_vmpl *state = current(cpu);
	struct vmcb_control *control = &state->vmcb->control;

	switch_save_hidden(cpu);
	memset(state->gpr, 0, sizeof(state->gpr));
	memset(state->dr, 0, sizeof(state->dr));
	state->vmcb->save.cr2 = state->vmcb->save.cr3 = state->vmcb->save.cr4 = 0;
	state->vmcb->save.rax = state->vmcb->save.rsp = 0;
	state->vmcb->save.cpl = 0;
	hw_reset(cpu, cpu->vmpl);
	control->interrupt_shadow = 0;
	control->intercept_misc1 &= ~(u32)SVM_INTERCEPT_IRET;
	control->intercept_exception &= ~(u32)SVM_INTERCEPT_EXC_DB;
	control->event_inj = 0;
	state->offered = -1;
	if (state->hidden_current)
		switch_load_hidden(cpu);
}

void hw_sipi(struct hw_cpu *cpu, u8 vector)
{
	struct vmcb_save *save = &vmcb(cpu)->save;

	segment(&save->cs, (u16)(vector << 8), RESET_CODE, (u64)vector << 12);
	save->rip = 0;
}
