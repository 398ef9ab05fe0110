/* SPDX-License-Identifier: GPL-2.0-or-later */
/* VMGEXIT: the GHCB MSR protocol (publication 56421, section 2.3.1). NAE events are in nae.c. */
#include "cpu.h"
#include "ghcb.h"
#include "host.h"

static u64 response(enum ghcb_msr_info info, u64 data) { return data << GHCB_MSR_DATA_SHIFT | info; }

static u64 sev_information(struct vcpu *vcpu)
{
	return (u64)GHCB_VERSION_SNP << GHCB_MSR_SEV_INFO_MAX_SHIFT | (u64)GHCB_VERSION_MIN << GHCB_MSR_SEV_INFO_MIN_SHIFT |
	       (u64)vcpu->host->config->cbit << GHCB_MSR_SEV_INFO_CBIT_SHIFT | GHCB_MSR_SEV_INFO_RESP;
}

static u64 cpuid_register(struct vcpu *vcpu, u64 request)
{
	u32 which = (u32)(request >> GHCB_MSR_CPUID_REG_SHIFT) & 3;
	struct cpuid_result r;
	u32 value[4];

	guest_cpuid(vcpu, (u32)(request >> GHCB_MSR_CPUID_VALUE_SHIFT), 0, &r);
	value[GHCB_CPUID_EAX] = r.eax;
	value[GHCB_CPUID_EBX] = r.ebx;
	value[GHCB_CPUID_ECX] = r.ecx;
	value[GHCB_CPUID_EDX] = r.edx;
	return (u64)value[which] << GHCB_MSR_CPUID_VALUE_SHIFT | (u64)which << GHCB_MSR_CPUID_REG_SHIFT | GHCB_MSR_CPUID_RESP;
}

static u64 register_ghcb(struct vcpu *vcpu, u64 request)
{
	u64 gpa = request & GHCB_MSR_GPA_MASK;

	if (!memory_region(vcpu->host, gpa))
		return response(GHCB_MSR_REG_GPA_RESP, GHCB_MSR_NO_GPA);
	current(vcpu)->ghcb_gpa = gpa;
	return gpa | GHCB_MSR_REG_GPA_RESP;
}

static u64 page_state_change(struct vcpu *vcpu, u64 request)
{
	u32 operation = (u32)(request >> GHCB_MSR_PSC_OP_SHIFT) & 15;
	bool ok = (operation == NAE_PSC_PRIVATE || operation == NAE_PSC_SHARED) && /* the others are the NAE event's */
		  rmp_page_state_change(vcpu, request & GHCB_MSR_PSC_GFN_MASK, operation, false);

	return (ok ? 0 : 1ull << GHCB_MSR_ERROR_SHIFT) | GHCB_MSR_PSC_RESP;
}

/* From VMPL0: run the guest. From the guest: give the CPU back to VMPL0, which finds the call in the CAA. */
static void run_vmpl(struct vcpu *vcpu, u64 request)
{
	u32 vmpl = (u32)(request >> GHCB_MSR_RUN_VMPL_SHIFT) & 0xFF;
	struct vmpl_state *caller = current(vcpu);

	caller->ghcb_msr = GHCB_MSR_RUN_VMPL_RESP;
	if (vmpl == 0 && vcpu->vmpl != 0 && vcpu->host->config->svsm_size) {
		vmpl_return(vcpu, SEV_VC_VMGEXIT);
		return;
	}
	if (vcpu->vmpl != 0 || !vmpl_run(vcpu, vmpl))
		caller->ghcb_msr |= 1ull << GHCB_MSR_ERROR_SHIFT;
}

static void msr_protocol(struct vcpu *vcpu, u64 request)
{
	struct vmpl_state *state = current(vcpu);

	switch (request & GHCB_MSR_INFO_MASK) {
	case GHCB_MSR_SEV_INFO_REQ:
		state->ghcb_msr = sev_information(vcpu);
		break;
	case GHCB_MSR_CPUID_REQ:
		state->ghcb_msr = cpuid_register(vcpu, request);
		break;
	case GHCB_MSR_AP_RESET_HOLD_REQ:
		state->ghcb_msr = response(GHCB_MSR_AP_RESET_HOLD_RESP, 0); /* another one when SIPI comes */
		startup_hold(vcpu, NO_GPA);
		break;
	case GHCB_MSR_PREF_GPA_REQ:
		state->ghcb_msr = response(GHCB_MSR_PREF_GPA_RESP, GHCB_MSR_NO_GPA);
		break;
	case GHCB_MSR_REG_GPA_REQ:
		state->ghcb_msr = register_ghcb(vcpu, request);
		break;
	case GHCB_MSR_PSC_REQ:
		state->ghcb_msr = page_state_change(vcpu, request);
		break;
	case GHCB_MSR_RUN_VMPL_REQ:
		run_vmpl(vcpu, request);
		break;
	case GHCB_MSR_UNREG_GPA_REQ:
		state->ghcb_gpa = NO_GPA;
		state->ghcb_msr = GHCB_MSR_UNREG_GPA_RESP;
		break;
	case GHCB_MSR_HV_FEATURES_REQ:
		state->ghcb_msr = response(GHCB_MSR_HV_FEATURES_RESP, vcpu->host->config->hv_features);
		break;
	case GHCB_MSR_TERM_REQ:
		host_stop(vcpu, RECORD_END_TERMINATE, (request >> GHCB_MSR_TERM_SET_SHIFT) & 15,
			  (request >> GHCB_MSR_TERM_REASON_SHIFT) & 0xFF);
	default: /* unknown: the request is left as it is, which no guest takes for an answer (KVM does the same) */
		log_write(vcpu, (struct record){ .kind = RECORD_GHCB_MSR, .rip = guest_pc(vcpu), .address = request, .value = request,
						 .outcome = RECORD_ERROR });
		return;
	}
}

void vmgexit(struct vcpu *vcpu)
{
	struct vmpl_state *state = current(vcpu);
	u64 request = state->ghcb_msr;
	u64 pc = guest_pc(vcpu);

	if (!(request & GHCB_MSR_INFO_MASK)) {
		nae_event(vcpu);
		return;
	}
	msr_protocol(vcpu, request);
	if (log_at(vcpu, 1) && (request & GHCB_MSR_INFO_MASK) != GHCB_MSR_RUN_VMPL_REQ) /* that has records of its own */
		log_write(vcpu, (struct record){ .kind = RECORD_GHCB_MSR, .rip = pc, .address = request, .value = state->ghcb_msr });
}
