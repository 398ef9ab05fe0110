/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Switching between VMPLs: VMSA <-> VMCB. */
#include "cpu.h"
#include "host.h"
#include "vmsa.h"

/* The state save area of the VMCB has the VMSA's layout up to here. */
#define SAVE_AREA_SIZE 0x298

void vmpl_save_hidden(struct vcpu *vcpu)
{
	struct vmpl_state *state = current(vcpu);

	if (state->hidden_current)
		vmsave(state->vmcb_pa);
}

static u64 read_dr(u32 n)
{
	u64 value;

	switch (n) {
	case 0: __asm__ volatile("mov %%db0, %0" : "=r"(value)); break;
	case 1: __asm__ volatile("mov %%db1, %0" : "=r"(value)); break;
	case 2: __asm__ volatile("mov %%db2, %0" : "=r"(value)); break;
	default: __asm__ volatile("mov %%db3, %0" : "=r"(value)); break;
	}
	return value;
}

static void write_dr(u32 n, u64 value)
{
	switch (n) {
	case 0: __asm__ volatile("mov %0, %%db0" : : "r"(value)); break;
	case 1: __asm__ volatile("mov %0, %%db1" : : "r"(value)); break;
	case 2: __asm__ volatile("mov %0, %%db2" : : "r"(value)); break;
	default: __asm__ volatile("mov %0, %%db3" : : "r"(value)); break;
	}
}

/* What VMRUN does not switch and a VMPL can see: FPU, SSE, AVX, XCR0, DR0-3, and what VMLOAD moves. */
static void leave(struct vcpu *vcpu)
{
	struct vmpl_state *state = current(vcpu);

	vmpl_save_hidden(vcpu);
	state->hidden_current = false;
	state->xcr0 = xgetbv();
	xsetbv(vcpu->host->xcr0_all); /* what the VMPL has switched off keeps its state as well */
	__asm__ volatile("xsave64 (%0)" : : "r"(state->xsave), "a"(~0u), "d"(~0u) : "memory");
	for (u32 i = 0; i < 4; i++)
		state->dr[i] = read_dr(i);
}

static void enter(struct vcpu *vcpu, u32 vmpl)
{
	struct vmpl_state *state = &vcpu->state[vmpl];

	vcpu->vmpl = (u8)vmpl;
	vcpu->apic_dirty = true;
	__asm__ volatile("xrstor64 (%0)" : : "r"(state->xsave), "a"(~0u), "d"(~0u) : "memory");
	xsetbv(state->xcr0);
	for (u32 i = 0; i < 4; i++)
		write_dr(i, state->dr[i]);
	vmload(state->vmcb_pa);
	state->hidden_current = true;
	state->vmcb->control.nested_cr3 = npt_root(vcpu);
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

static void save_vmsa(struct vcpu *vcpu, struct vmsa *vmsa, u64 exit_code)
{
	struct vmpl_state *state = current(vcpu);
	u8 vmpl = vmsa->vmpl;

	memcpy(vmsa, &state->vmcb->save, SAVE_AREA_SIZE);
	vmsa->vmpl = vmpl;
	copy_registers(state->gpr, vmsa, true);
	vmsa->xcr0 = state->xcr0;
	vmsa->vintr_ctrl &= ~(VMSA_VINTR_SHADOW | VMSA_VINTR_TPR_MASK);
	vmsa->vintr_ctrl |= state->vmcb->control.interrupt_shadow & 1 ? VMSA_VINTR_SHADOW : 0;
	vmsa->vintr_ctrl |= vapic_tpr(&vcpu->apic) >> 4;
	vmsa->event_inj = state->vmcb->control.event_inj;
	vmsa->guest_exit_code = exit_code;
}

static void load_vmsa(struct vmpl_state *state, struct vmsa *vmsa)
{
	memcpy(&state->vmcb->save, vmsa, SAVE_AREA_SIZE);
	copy_registers(state->gpr, vmsa, false);
	state->vmcb->control.interrupt_shadow = vmsa->vintr_ctrl & VMSA_VINTR_SHADOW ? 1 : 0;
	state->vmcb->control.event_inj = vmsa->event_inj;
	state->xcr0 = vmsa->xcr0 ? vmsa->xcr0 | 1 : 1;
}

/* The VMSA of a VMPL of this vCPU: registered, still marked as one in the RMP, of that VMPL, and allowed to run. */
static struct vmsa *runnable(struct vcpu *vcpu, u32 vmpl)
{
	struct vmpl_state *state = &vcpu->state[vmpl];
	struct vmsa *vmsa;

	if (state->vmsa_gpa == NO_GPA || !rmp_is_vmsa(vcpu->host, state->vmsa_gpa))
		return NULL;
	vmsa = (struct vmsa *)memory_private(vcpu->host, state->vmsa_gpa, PAGE_SIZE);
	if (!vmsa || !(vmsa->efer & VMSA_EFER_SVME) || vmsa->vmpl != vmpl || vmsa->sev_features != state->sev_features)
		return NULL;
	return vmsa;
}

/* The registers of an SVSM call, at the call and when its answer is taken (AMD publication 58019, section 4). */
static void log_call(struct vcpu *vcpu)
{
	struct vmpl_state *state = current(vcpu);

	state->svsm_call = state->vmcb->save.rax;
	state->svsm_called = true;
	if (log_at(vcpu, 1))
		log_write(vcpu, (struct record){ .kind = RECORD_SVSM_CALL, .rip = guest_pc(vcpu), .address = state->svsm_call,
						 .value = state->gpr[GPR_RCX], .extra = state->gpr[GPR_RDX] });
}

static void log_result(struct vcpu *vcpu)
{
	struct vmpl_state *state = current(vcpu);
	u64 result = state->vmcb->save.rax;

	if (!state->svsm_called)
		return;
	state->svsm_called = false;
	if (log_at(vcpu, 1))
		log_write(vcpu, (struct record){ .kind = RECORD_SVSM_RESULT, .rip = guest_pc(vcpu), .address = state->svsm_call,
						 .value = result, .extra = state->gpr[GPR_RCX],
						 .outcome = result ? RECORD_ERROR : RECORD_OK });
}

bool vmpl_run(struct vcpu *vcpu, u32 vmpl)
{
	struct vmsa *vmsa = vmpl > vcpu->vmpl && vmpl < CONFIG_VMPLS ? runnable(vcpu, vmpl) : NULL;

	if (!vmsa)
		return false;
	leave(vcpu);
	load_vmsa(&vcpu->state[vmpl], vmsa);
	enter(vcpu, vmpl);
	log_result(vcpu);
	if (log_at(vcpu, 2))
		log_write(vcpu, (struct record){ .kind = RECORD_VMPL_SWITCH, .address = vcpu->state[vmpl].vmsa_gpa });
	return true;
}

void vmpl_return(struct vcpu *vcpu, u64 code)
{
	struct vmpl_state *state = current(vcpu);
	struct vmsa *vmsa = (struct vmsa *)memory_private(vcpu->host, state->vmsa_gpa, PAGE_SIZE);

	if (!vmsa)
		host_stop(vcpu, RECORD_END_NO_VMSA, state->vmsa_gpa, 0);
	log_call(vcpu);
	leave(vcpu);
	save_vmsa(vcpu, vmsa, code);
	if (log_at(vcpu, 2))
		log_write(vcpu, (struct record){ .kind = RECORD_VMPL_SWITCH, .address = state->vmsa_gpa, .value = code });
	enter(vcpu, 0);
}
