/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Switching between VMPLs: VMSA <-> VMCB. */
#include "cpu.h"
#include "host.h"
#include "svsm.h"
#include "vmsa.h"

/* The legacy area and header of XSAVE (APM vol. 2, 11.5.2; figure 11-8). */
#define XSAVE_MXCSR     24
#define XSAVE_XSTATE_BV 512
#define XSTATE_X87      1
#define XSTATE_SSE      2
#define MXCSR_BITS      0xFFFF /* the others are reserved: XRSTOR would fault */

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
void vmpl_leave(struct vcpu *vcpu)
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

void vmpl_enter(struct vcpu *vcpu, u32 vmpl)
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
	vmsa->vintr_ctrl &= ~VMSA_VINTR_SHADOW;
	vmsa->vintr_ctrl |= state->vmcb->control.interrupt_shadow & 1 ? VMSA_VINTR_SHADOW : 0;
	if (state->alternate)
		alternate_save(vcpu, state, vmsa);
	else
		vmsa->vintr_ctrl = (vmsa->vintr_ctrl & ~VMSA_VINTR_TPR_MASK) | vapic_tpr(own_apic(vcpu)) >> 4;
	vmsa->event_inj = state->vmcb->control.event_inj;
	vmsa->guest_exit_code = exit_code;
}

/* What VMRUN does not switch, as a new VMSA has it: without debug virtualization the DRs are not in it. */
static void fresh_hidden(struct vmpl_state *state, const struct vmsa *vmsa)
{
	memset(state->xsave, 0, PAGE_SIZE);
	*(a16 *)state->xsave = vmsa->x87_fcw;
	*(a32 *)(state->xsave + XSAVE_MXCSR) = vmsa->mxcsr & MXCSR_BITS;
	*(a64 *)(state->xsave + XSAVE_XSTATE_BV) = XSTATE_X87 | XSTATE_SSE;
	memset(state->dr, 0, sizeof(state->dr));
}

static void load_vmsa(struct vcpu *vcpu, struct vmpl_state *state, struct vmsa *vmsa)
{
	memcpy(&state->vmcb->save, vmsa, SAVE_AREA_SIZE);
	copy_registers(state->gpr, vmsa, false);
	state->vmcb->control.interrupt_shadow = vmsa->vintr_ctrl & VMSA_VINTR_SHADOW ? 1 : 0;
	state->vmcb->control.event_inj = vmsa->event_inj;
	state->xcr0 = vmsa->xcr0 ? vmsa->xcr0 | 1 : 1;
	if (state->fresh)
		fresh_hidden(state, vmsa);
	state->fresh = false;
	if (state->alternate)
		alternate_load(vcpu, state, vmsa);
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

/* The VMPL that runs may still be run. What the vCPU was launched with is in no VMSA here. */
bool vmpl_is_runnable(struct vcpu *vcpu)
{
	if (!vcpu->host->sev)
		return true;
	return current(vcpu)->vmsa_gpa == NO_GPA ? vcpu == boot_vcpu(vcpu) : runnable(vcpu, vcpu->vmpl) != NULL;
}

bool vmpl_begin(struct vcpu *vcpu, u32 vmpl)
{
	struct vmsa *vmsa = runnable(vcpu, vmpl);

	if (!vmsa)
		return false;
	load_vmsa(vcpu, &vcpu->state[vmpl], vmsa);
	vcpu->vmpl = (u8)vmpl;
	return true;
}

void vmpl_abandon(struct vcpu *vcpu)
{
	struct vmpl_state *state = current(vcpu);

	state->vmcb->control.event_inj = 0;
	state->svsm_called = false;
	vcpu->posted = -1;
	vcpu->injected = -1;
	vcpu->offer = 0;
}

static bool is_register_call(u64 call)
{
	return call == SVSM_CALL(SVSM_PROTOCOL_APIC, SVSM_APIC_READ_REGISTER) ||
	       call == SVSM_CALL(SVSM_PROTOCOL_APIC, SVSM_APIC_WRITE_REGISTER);
}

/* What the contract's rules need is logged at every level. The register calls have records of their own. */
static u32 level_of_call(u64 call)
{
	bool apic = call >> 32 == SVSM_PROTOCOL_APIC && !is_register_call(call);

	return apic || call == SVSM_CALL(SVSM_PROTOCOL_CORE, SVSM_CORE_QUERY_PROTOCOL) ? 0 : 1;
}

/* The instruction a call is made for: the access of that MSR whose #VC is being handled, else the VMGEXIT. */
static u64 pc_of_call(struct vcpu *vcpu)
{
	struct vmpl_state *state = current(vcpu);
	bool for_msr = state->vc_msr_open && is_register_call(state->svsm_call) && state->svsm_rcx == state->vc_msr;

	state->vc_msr_open = false;
	return for_msr ? event_pc(vcpu, SVM_EXIT_MSR) : guest_pc(vcpu);
}

/* The registers of an SVSM call, at the call and when its answer is taken (AMD publication 58019, section 4). */
static void log_call(struct vcpu *vcpu)
{
	struct vmpl_state *state = current(vcpu);

	state->svsm_call = state->vmcb->save.rax;
	state->svsm_rcx = state->gpr[GPR_RCX];
	state->svsm_rdx = state->gpr[GPR_RDX];
	state->svsm_pc = pc_of_call(vcpu);
	state->svsm_called = true;
	if (state->svsm_call == SVSM_CALL(SVSM_PROTOCOL_APIC, SVSM_APIC_CONFIGURE_VECTOR)) {
		memset(vcpu->posted_seen, 0, sizeof(vcpu->posted_seen));
		memset(vcpu->taken_seen, 0, sizeof(vcpu->taken_seen));
	}
	if (log_at(vcpu, level_of_call(state->svsm_call)))
		log_write(vcpu, (struct record){ .kind = RECORD_SVSM_CALL, .rip = state->svsm_pc, .address = state->svsm_call,
						 .value = state->svsm_rcx, .extra = state->svsm_rdx });
}

static void log_result(struct vcpu *vcpu)
{
	struct vmpl_state *state = current(vcpu);
	u64 result = state->vmcb->save.rax;

	if (!state->svsm_called)
		return;
	state->svsm_called = false;
	if (is_register_call(state->svsm_call)) {
		bool write = (u32)state->svsm_call == SVSM_APIC_WRITE_REGISTER;

		apic_svsm_access(vcpu, write, write ? state->svsm_rdx : state->gpr[GPR_RDX], result);
	}
	if (log_at(vcpu, level_of_call(state->svsm_call)))
		log_write(vcpu, (struct record){ .kind = RECORD_SVSM_RESULT, .rip = state->svsm_pc, .address = state->svsm_call,
						 .value = result, .extra = state->gpr[GPR_RCX], .aux = (u32)state->svsm_rcx,
						 .outcome = result ? RECORD_ERROR : RECORD_OK });
}

bool vmpl_run(struct vcpu *vcpu, u32 vmpl)
{
	struct vmsa *vmsa = vmpl > vcpu->vmpl && vmpl < CONFIG_VMPLS ? runnable(vcpu, vmpl) : NULL;

	if (!vmsa)
		return false;
	vmpl_leave(vcpu);
	load_vmsa(vcpu, &vcpu->state[vmpl], vmsa);
	vmpl_enter(vcpu, vmpl);
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
	if (code == SEV_VC_VMGEXIT)
		log_call(vcpu);
	vmpl_leave(vcpu);
	save_vmsa(vcpu, vmsa, code);
	if (log_at(vcpu, 2))
		log_write(vcpu, (struct record){ .kind = RECORD_VMPL_SWITCH, .address = state->vmsa_gpa, .value = code });
	vmpl_enter(vcpu, 0);
	if (has_doorbell(vcpu) && fault_now(vcpu, CONFIG_FAULT_DOORBELL_STORM))
		vcpu->doorbell.signal = true;
}
