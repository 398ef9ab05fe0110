/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmgexit.h"
#include "cpuid.h"
#include "ghcb.h"
#include "memory.h"
#include "nae.h"
#include "pages.h"
#include "startup.h"
#include "vmpl.h"
#include "x86.h"

static u64 response(enum ghcb_msr_info info, u64 data) { return data << GHCB_MSR_DATA_SHIFT | info; }

static u64 sev_information(struct vcpu *vcpu)
{
	return (u64)GHCB_VERSION_SNP << GHCB_MSR_SEV_INFO_MAX_SHIFT | (u64)GHCB_VERSION_MIN << GHCB_MSR_SEV_INFO_MIN_SHIFT |
	       (u64)vcpu->hv->config->cbit << GHCB_MSR_SEV_INFO_CBIT_SHIFT | GHCB_MSR_SEV_INFO_RESP;
}

static u64 cpuid_register(struct vcpu *vcpu, u64 request)
{
	u32 which = (u32)(request >> GHCB_MSR_CPUID_REG_SHIFT) & 3;
	struct cpuid_result r;
	u32 value[4];

	cpuid_guest(vcpu, (u32)(request >> GHCB_MSR_CPUID_VALUE_SHIFT), 0, &r);
	value[GHCB_CPUID_EAX] = r.eax;
	value[GHCB_CPUID_EBX] = r.ebx;
	value[GHCB_CPUID_ECX] = r.ecx;
	value[GHCB_CPUID_EDX] = r.edx;
	return (u64)value[which] << GHCB_MSR_CPUID_VALUE_SHIFT | (u64)which << GHCB_MSR_CPUID_REG_SHIFT | GHCB_MSR_CPUID_RESP;
}

static u64 register_ghcb(struct vcpu *vcpu, u64 request)
{
	u64 gpa = request & GHCB_MSR_GPA_MASK;

	if (!memory_region(vcpu->hv, gpa))
		return response(GHCB_MSR_REG_GPA_RESP, GHCB_MSR_NO_GPA);
	current(vcpu)->ghcb_gpa = gpa;
	return gpa | GHCB_MSR_REG_GPA_RESP;
}

static u64 page_state_change(struct vcpu *vcpu, u64 request)
{
	u32 operation = (u32)(request >> GHCB_MSR_PSC_OP_SHIFT) & 15;
	bool ok = (operation == NAE_PSC_PRIVATE || operation == NAE_PSC_SHARED) && /* the others belong to the NAE event */
		  pages_change(vcpu, request & GHCB_MSR_PSC_GFN_MASK, operation, false);

	return (ok ? 0 : 1ull << GHCB_MSR_ERROR_SHIFT) | GHCB_MSR_PSC_RESP;
}

static void run_vmpl(struct vcpu *vcpu, u64 request)
{
	u32 vmpl = (u32)(request >> GHCB_MSR_RUN_VMPL_SHIFT) & 0xFF;

	hw_set_ghcb(vcpu->cpu, GHCB_MSR_RUN_VMPL_RESP); /* of the caller: another VMPL is current after the switch */
	if (!vmpl_switch(vcpu, vmpl))
		hw_set_ghcb(vcpu->cpu, 1ull << GHCB_MSR_ERROR_SHIFT | GHCB_MSR_RUN_VMPL_RESP);
}

/* Requests that end an SEV-ES guest in KVM (sev_handle_vmgexit_msr_protocol). */
static bool is_of_snp(u64 request)
{
	u64 info = request & GHCB_MSR_INFO_MASK;

	return info == GHCB_MSR_PREF_GPA_REQ || info == GHCB_MSR_REG_GPA_REQ || info == GHCB_MSR_PSC_REQ;
}

/* The answer; for an unknown request the request itself, which is not a valid answer (KVM does the same). */
static u64 answer(struct vcpu *vcpu, u64 request)
{
	if (!vcpu->hv->snp && is_of_snp(request))
		hw_stop(vcpu->cpu, RECORD_END_NOT_SNP, request, 0);
	switch (request & GHCB_MSR_INFO_MASK) {
	case GHCB_MSR_SEV_INFO_REQ:
		return sev_information(vcpu);
	case GHCB_MSR_CPUID_REQ:
		return cpuid_register(vcpu, request);
	case GHCB_MSR_AP_RESET_HOLD_REQ:
		startup_hold(vcpu, NO_GPA);
		return response(GHCB_MSR_AP_RESET_HOLD_RESP, 0); /* another one at SIPI */
	case GHCB_MSR_PREF_GPA_REQ:
		return response(GHCB_MSR_PREF_GPA_RESP, GHCB_MSR_NO_GPA);
	case GHCB_MSR_REG_GPA_REQ:
		return register_ghcb(vcpu, request);
	case GHCB_MSR_PSC_REQ:
		return page_state_change(vcpu, request);
	case GHCB_MSR_UNREG_GPA_REQ:
		current(vcpu)->ghcb_gpa = NO_GPA;
		return GHCB_MSR_UNREG_GPA_RESP;
	case GHCB_MSR_HV_FEATURES_REQ:
		return response(GHCB_MSR_HV_FEATURES_RESP, vcpu->hv->config->hv_features);
	case GHCB_MSR_TERM_REQ:
		hw_stop(vcpu->cpu, RECORD_END_TERMINATE, (request >> GHCB_MSR_TERM_SET_SHIFT) & 15,
			(request >> GHCB_MSR_TERM_REASON_SHIFT) & 0xFF);
	default:
		hw_log(vcpu->cpu, (struct record){ .kind = RECORD_GHCB_MSR, .rip = hw_observe_pc(vcpu->cpu), .address = request,
						   .value = request, .outcome = RECORD_ERROR });
		return request;
	}
}

void vmgexit(struct vcpu *vcpu, u64 request)
{
	u64 value;

	if (!(request & GHCB_MSR_INFO_MASK)) {
		nae_event(vcpu, request);
		return;
	}
	if ((request & GHCB_MSR_INFO_MASK) == GHCB_MSR_RUN_VMPL_REQ) { /* it has records of its own */
		run_vmpl(vcpu, request);
		return;
	}
	value = answer(vcpu, request);
	hw_set_ghcb(vcpu->cpu, value);
	if (log_at(vcpu, 1))
		hw_log(vcpu->cpu, (struct record){ .kind = RECORD_GHCB_MSR, .rip = hw_observe_pc(vcpu->cpu), .address = request,
						   .value = value });
}
