/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * VMSA <-> VMCB, and what VMRUN does not switch. On hardware every VMRUN loads the VMSA and every #VMEXIT saves it; here
 * it happens at a switch to another VMPL.
 */
#include "alternate.h"
#include "bytes.h"
#include "cpu.h"
#include "debugger.h"
#include "layout.h"
#include "npt.h"
#include "sev.h"
#include "vmsa.h"
#include "vmsa_switch.h"
#include "x86.h"
#include "xsave_format.h"

#define MSR_TSC_AUX 0xC0000103u

/* The state save area of the VMCB has the VMSA's layout up to here. */
#define SAVE_AREA_SIZE 0x298

void switch_save_hidden(struct hw_cpu *cpu)
{
	struct hw_vmpl *state = current(cpu);

	if (state->hidden_current)
		vmsave((u64)state->vmcb);
}

#define READ_DR(n, value)  __asm__ volatile("mov %%db" #n ", %0" : "=r"(value))
#define WRITE_DR(n, value) __asm__ volatile("mov %0, %%db" #n : : "r"(value))

void switch_load_hidden(struct hw_cpu *cpu)
{
	struct hw_vmpl *state = current(cpu);

	WRITE_DR(0, state->dr[0]);
	WRITE_DR(1, state->dr[1]);
	WRITE_DR(2, state->dr[2]);
	WRITE_DR(3, state->dr[3]);
	vmload((u64)state->vmcb);
	state->hidden_current = true;
	state->vmcb->control.nested_cr3 = npt_root(cpu);
}

/* State that VMRUN does not switch and a VMPL can see: FPU, SSE, AVX, XCR0, DR0-3, and what VMLOAD moves. */
static void leave(struct hw_cpu *cpu)
{
	struct hw_vmpl *state = current(cpu);

	switch_save_hidden(cpu);
	state->hidden_current = false;
	state->xcr0 = xgetbv();
	xsetbv(cpu->hw->xcr0_all); /* state that the VMPL has disabled is kept as well */
	__asm__ volatile("xsave64 (%0)" : : "r"(state->xsave), "a"(~0u), "d"(~0u) : "memory");
	READ_DR(0, state->dr[0]);
	READ_DR(1, state->dr[1]);
	READ_DR(2, state->dr[2]);
	READ_DR(3, state->dr[3]);
}

static void enter(struct hw_cpu *cpu, u32 vmpl)
{
	struct hw_vmpl *state = &cpu->state[vmpl];

	cpu->vmpl = (u8)vmpl;
	__asm__ volatile("xrstor64 (%0)" : : "r"(state->xsave), "a"(~0u), "d"(~0u) : "memory");
	xsetbv(state->xcr0);
	switch_load_hidden(cpu);
}

static void copy_registers(u64 *gpr, struct vmsa *vmsa, bool to_vmsa)
{
	u64 *const slots[16] = {
		NULL, &vmsa->rcx, &vmsa->rdx, &vmsa->rbx, NULL, &vmsa->rbp, &vmsa->rsi, &vmsa->rdi,
		&vmsa->r8, &vmsa->r9, &vmsa->r10, &vmsa->r11, &vmsa->r12, &vmsa->r13, &vmsa->r14, &vmsa->r15,
	};

	for (u32 i = 0; i < 16; i++) {
		if (!slots[i])
			continue;
		if (to_vmsa)
			*slots[i] = gpr[i];
		else
			gpr[i] = *slots[i];
	}
}

static void save_vmsa(struct hw_cpu *cpu, struct vmsa *vmsa, u64 exit_code)
{
	struct hw_vmpl *state = current(cpu);
	u8 vmpl = vmsa->vmpl;

	memcpy(vmsa, &state->vmcb->save, SAVE_AREA_SIZE);
	vmsa->vmpl = vmpl;
	copy_registers(state->gpr, vmsa, true);
	vmsa->xcr0 = state->xcr0;
	vmsa->vintr_ctrl &= ~VMSA_VINTR_SHADOW;
	vmsa->vintr_ctrl |= state->vmcb->control.interrupt_shadow & 1 ? VMSA_VINTR_SHADOW : 0;
	if (state->alternate)
		alternate_save(cpu, state, vmsa);
	else
		vmsa->vintr_ctrl = (vmsa->vintr_ctrl & ~VMSA_VINTR_TPR_MASK) | (state->vmcb->control.vintr & SVM_V_CR8);
	vmsa->event_inj = state->vmcb->control.event_inj;
	vmsa->guest_exit_code = exit_code;
}

/* State that VMRUN does not switch, for a new VMSA: without debug virtualization the DRs are not in it. */
static void fresh_hidden(struct hw_vmpl *state, const struct vmsa *vmsa)
{
	memset(state->xsave, 0, PAGE_SIZE);
	*(a16 *)state->xsave = vmsa->x87_fcw;
	*(a32 *)(state->xsave + XSAVE_MXCSR) = vmsa->mxcsr & XSAVE_MXCSR_BITS;
	*(a64 *)(state->xsave + XSAVE_XSTATE_BV) = XSTATE_X87 | XSTATE_SSE;
	memset(state->dr, 0, sizeof(state->dr));
}

static void load_vmsa(struct hw_cpu *cpu, struct hw_vmpl *state, struct vmsa *vmsa)
{
	memcpy(&state->vmcb->save, vmsa, SAVE_AREA_SIZE);
	copy_registers(state->gpr, vmsa, false);
	state->vmcb->control.interrupt_shadow = vmsa->vintr_ctrl & VMSA_VINTR_SHADOW ? 1 : 0;
	state->vmcb->control.event_inj = vmsa->event_inj;
	state->xcr0 = vmsa->xcr0 ? vmsa->xcr0 | 1 : 1;
	state->busy = false;
	if (state->fresh)
		fresh_hidden(state, vmsa);
	state->fresh = false;
	if (state->alternate)
		alternate_load(cpu, state, vmsa);
}

/* The VMSA of a VMPL of this vCPU: registered, still marked as one in the RMP, of that VMPL, and allowed to run. */
static struct vmsa *runnable(struct hw_cpu *cpu, u32 vmpl)
{
	const struct hw_vmpl *state = &cpu->state[vmpl];
	struct vmsa *vmsa = (struct vmsa *)(PHYSICAL_WINDOW + state->vmsa_spa);

	if (state->vmsa_gpa == NO_GPA || !rmp_is_vmsa(&cpu->hw->rmp, state->vmsa_spa))
		return NULL;
	if (!(vmsa->efer & VMSA_EFER_SVME) || vmsa->vmpl != vmpl || vmsa->sev_features != state->sev_features)
		return NULL;
	return vmsa;
}

void hw_vmsa_register(struct hw_cpu *cpu, u32 vmpl, u64 gpa, u64 spa, u64 features)
{
	struct hw_vmpl *state = &cpu->state[vmpl];

	state->vmsa_gpa = gpa;
	state->vmsa_spa = spa;
	state->fresh = true;
	hw_vmsa_features(cpu, vmpl, features);
}

/* SEV_STATUS follows the SEV_FEATURES of the VMSA that runs (APM vol. 2, 15.34.10); a guest without SNP has none. */
void hw_vmsa_features(struct hw_cpu *cpu, u32 vmpl, u64 features)
{
	struct hw_vmpl *state = &cpu->state[vmpl];
	u64 configured = cpu->machine->config->sev_status[vmpl];

	state->sev_features = features;
	state->sev_status = features ? (configured & (SEV_STATUS_SEV | SEV_STATUS_SEV_ES)) | features << SEV_FEATURES_STATUS_SHIFT
				     : configured;
	state->alternate = features & SEV_FEATURES_ALTERNATE_INJECTION;
}

void vmsa_launch(struct hw_cpu *cpu, struct vmsa *vmsa)
{
	struct hw_vmpl *state = &cpu->state[vmsa->vmpl];

	state->fresh = true;
	hw_vmsa_features(cpu, vmsa->vmpl, vmsa->sev_features);
	load_vmsa(cpu, state, vmsa);
}

bool hw_vmsa_runnable(struct hw_cpu *cpu, u32 vmpl) { return runnable(cpu, vmpl) != NULL; }

bool hw_vmpl_begin(struct hw_cpu *cpu, u32 vmpl)
{
	struct vmsa *vmsa = runnable(cpu, vmpl);

	if (!vmsa)
		return false;
	load_vmsa(cpu, &cpu->state[vmpl], vmsa);
	cpu->vmpl = (u8)vmpl;
	return true;
}

void hw_vmpl_select(struct hw_cpu *cpu, u32 vmpl) { cpu->vmpl = (u8)vmpl; }

void hw_vmpl_abandon(struct hw_cpu *cpu)
{
	current(cpu)->vmcb->control.event_inj = 0;
	current(cpu)->offered = -1;
	cpu->posted = -1;
	cpu->injected = -1;
	cpu->offer = 0;
}

bool hw_vmpl_run(struct hw_cpu *cpu, u32 vmpl)
{
	struct vmsa *vmsa = runnable(cpu, vmpl);

	if (!vmsa)
		return false;
	leave(cpu);
	load_vmsa(cpu, &cpu->state[vmpl], vmsa);
	enter(cpu, vmpl);
	return true;
}

bool hw_vmpl_return(struct hw_cpu *cpu, u64 code)
{
	struct hw_vmpl *state = current(cpu);

	if (state->vmsa_gpa == NO_GPA)
		return false;
	leave(cpu);
	save_vmsa(cpu, (struct vmsa *)(PHYSICAL_WINDOW + state->vmsa_spa), code);
	enter(cpu, 0);
	return true;
}

void hw_cpu_switch(struct hw_cpu *from, struct hw_cpu *to)
{
	leave(from);
	from->tsc_aux = rdmsr(MSR_TSC_AUX);
	wrmsr(MSR_TSC_AUX, to->tsc_aux);
	enter(to, to->vmpl);
	debugger_set_running(to);
}

void hw_cpu_start(struct hw_cpu *cpu) { switch_load_hidden(cpu); }
