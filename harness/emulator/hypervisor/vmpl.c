/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmpl.h"
#include "alternate.h"
#include "memory.h"
#include "svsm.h"

/* The launch state of the vCPU is not in a VMSA here. */
bool vmpl_is_runnable(struct vcpu *vcpu)
{
	if (!vcpu->hv->snp)
		return true;
	return current(vcpu)->vmsa_gpa == NO_GPA ? vcpu == boot_vcpu(vcpu) : hw_vmsa_runnable(vcpu->cpu, vcpu->vmpl);
}

void vmpl_set_vmsa(struct vcpu *vcpu, u32 vmpl, u64 gpa, u64 features)
{
	struct vmpl_state *state = &vcpu->state[vmpl];
	const struct hw_slot *region = gpa == NO_GPA ? NULL : memory_region(vcpu->hv, gpa);

	if (!region)
		features = 0;
	state->init_vmsa_gpa = NO_GPA;
	state->vmsa_gpa = gpa;
	state->sev_features = features;
	state->svsm_called = false; /* the registers of a new VMSA do not answer a call of the old one */
	hw_vmsa_register(vcpu->cpu, vmpl, gpa, region ? hw_slot_spa(region, gpa, false) : NO_GPA, features);
	alternate_begin(vcpu, vmpl, features);
	vcpu->apic_dirty = true;
}

void vmpl_abandon(struct vcpu *vcpu)
{
	current(vcpu)->svsm_called = false;
	vcpu->posted = -1;
	hw_vmpl_abandon(vcpu->cpu);
}

static bool is_register_call(u64 call)
{
	return call == SVSM_CALL(SVSM_PROTOCOL_APIC, SVSM_APIC_READ_REGISTER) ||
	       call == SVSM_CALL(SVSM_PROTOCOL_APIC, SVSM_APIC_WRITE_REGISTER);
}

/* Calls that the contract's rules need are logged at every level. */
static u32 level_of_call(u64 call)
{
	return call >> 32 == SVSM_PROTOCOL_APIC || call == SVSM_CALL(SVSM_PROTOCOL_CORE, SVSM_CORE_QUERY_PROTOCOL) ? 0 : 1;
}

/* The registers of an SVSM call, at the call and when its answer is taken (AMD publication 58019, section 4). */
static void log_call(struct vcpu *vcpu)
{
	struct vmpl_state *state = current(vcpu);

	state->svsm_call = hw_observe_call(vcpu->cpu);
	state->svsm_pc = hw_observe_vmgexit_pc(vcpu->cpu);
	state->svsm_answers = 0;
	if (is_register_call(state->svsm_call.rax)) /* the access of that MSR whose #VC is being handled, if any */
		state->svsm_answers = hw_observe_answer(vcpu->cpu, RECORD_PATH_MSR, state->svsm_call.rcx,
							(u32)state->svsm_call.rax == SVSM_APIC_WRITE_REGISTER, &state->svsm_pc);
	state->svsm_called = true;
	if (state->svsm_call.rax == SVSM_CALL(SVSM_PROTOCOL_APIC, SVSM_APIC_CONFIGURE_VECTOR))
		alternate_log_anew(vcpu);
	if (log_at(vcpu, level_of_call(state->svsm_call.rax)))
		hw_log(vcpu->cpu, (struct record){ .kind = RECORD_SVSM_CALL, .rip = state->svsm_pc, .address = state->svsm_call.rax,
						   .value = state->svsm_call.rcx, .extra = state->svsm_call.rdx });
}

/* A register of the guest's APIC that the SVSM has read or written. */
static void log_register_call(struct vcpu *vcpu, const struct hw_call *answer)
{
	const struct vmpl_state *state = current(vcpu);
	bool write = (u32)state->svsm_call.rax == SVSM_APIC_WRITE_REGISTER;
	u64 value = write ? state->svsm_call.rdx : answer->rdx;

	hw_log(vcpu->cpu, (struct record){ .kind = RECORD_APIC, .rip = state->svsm_pc, .address = state->svsm_call.rcx,
					   .value = write || !answer->rax ? value : 0, .extra = answer->rax,
					   .path = RECORD_PATH_SVSM, .size = 8, .outcome = answer->rax ? RECORD_ERROR : RECORD_OK,
					   .flags = write ? RECORD_WRITE : 0,
					   .aux = APIC_BASE_MODE(vapic_base(own_apic(vcpu))) | state->svsm_answers });
}

static void log_result(struct vcpu *vcpu)
{
	struct vmpl_state *state = current(vcpu);
	struct hw_call answer = hw_observe_call(vcpu->cpu);
	u64 call = state->svsm_call.rax;

	if (!state->svsm_called)
		return;
	state->svsm_called = false;
	if (is_register_call(call))
		log_register_call(vcpu, &answer);
	if (log_at(vcpu, level_of_call(call)))
		hw_log(vcpu->cpu, (struct record){ .kind = RECORD_SVSM_RESULT, .rip = state->svsm_pc, .address = call,
						   .value = answer.rax, .extra = answer.rcx, .aux = (u32)state->svsm_call.rcx,
						   .outcome = answer.rax ? RECORD_ERROR : RECORD_OK });
}

static void log_switch(struct vcpu *vcpu, u64 vmsa_gpa, u64 code)
{
	if (log_at(vcpu, 2))
		hw_log(vcpu->cpu, (struct record){ .kind = RECORD_VMPL_SWITCH, .address = vmsa_gpa, .value = code });
}

static void set_vmpl(struct vcpu *vcpu, u32 vmpl)
{
	vcpu->vmpl = (u8)vmpl;
	vcpu->apic_dirty = true;
}

/* KVM with several VMPLs (AMD's SVSM series) looks for a VMSA that waits for INIT at each switch, too. */
static void set_waiting_vmsa(struct vcpu *vcpu, u32 vmpl)
{
	const struct vmpl_state *state = &vcpu->state[vmpl];

	if (state->init_vmsa_gpa != NO_GPA)
		vmpl_set_vmsa(vcpu, vmpl, state->init_vmsa_gpa, state->init_features);
}

static bool run_lower(struct vcpu *vcpu, u32 vmpl)
{
	if (vmpl <= vcpu->vmpl || vmpl >= CONFIG_VMPLS)
		return false;
	set_waiting_vmsa(vcpu, vmpl);
	if (!hw_vmpl_run(vcpu->cpu, vmpl))
		return false;
	set_vmpl(vcpu, vmpl);
	log_result(vcpu);
	log_switch(vcpu, current(vcpu)->vmsa_gpa, 0);
	return true;
}

void vmpl_return(struct vcpu *vcpu, u64 code)
{
	u64 vmsa_gpa = current(vcpu)->vmsa_gpa;

	if (code == SVM_EXIT_VMGEXIT)
		log_call(vcpu);
	log_switch(vcpu, vmsa_gpa, code);
	if (!hw_vmpl_return(vcpu->cpu, code))
		hw_stop(vcpu->cpu, RECORD_END_NO_VMSA, vmsa_gpa, 0);
	set_vmpl(vcpu, 0);
	if (has_doorbell(vcpu) && fault_now(vcpu, CONFIG_FAULT_DOORBELL_STORM))
		vcpu->doorbell.signal = true;
}

bool vmpl_switch(struct vcpu *vcpu, u32 vmpl)
{
	if (vmpl == 0 && vcpu->vmpl != 0 && has_svsm(vcpu->hv)) {
		if (!fault_now(vcpu, CONFIG_FAULT_SVSM))
			vmpl_return(vcpu, SVM_EXIT_VMGEXIT);
		return true;
	}
	return vcpu->vmpl == 0 && run_lower(vcpu, vmpl);
}
