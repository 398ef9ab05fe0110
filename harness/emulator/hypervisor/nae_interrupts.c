/* SPDX-License-Identifier: GPL-2.0-or-later */
/* NAE events of restricted and Alternate Injection (publication 56421, section 4; COCONUT kernel/src/sev/ghcb.rs). */
#include "alternate.h"
#include "apic.h"
#include "doorbell.h"
#include "ipi.h"
#include "nae.h"
#include "physical_apic.h"

/* The event is unknown if the hypervisor does not offer its feature, or for a VMPL without it. */
static bool offered(struct vcpu *vcpu, struct nae *nae, u64 features, u32 vmpl)
{
	if ((vcpu->hv->config->hv_features & features) && vcpu->vmpl == vmpl)
		return true;
	nae_refuse(nae, NAE_ERR_INVALID_EVENT);
	return false;
}

static bool is_restricted(struct vcpu *vcpu, struct nae *nae)
{
	if (!offered(vcpu, nae, HV_FEATURE_RESTRICTED_INJECTION, vcpu->vmpl))
		return false;
	if (hw_msr(vcpu->cpu, SEV_MSR_STATUS) & SEV_STATUS_RESTRICTED_INJECTION)
		return true;
	nae_refuse(nae, NAE_ERR_INVALID_EVENT);
	return false;
}

void nae_doorbell(struct vcpu *vcpu, struct nae *nae)
{
	if (!is_restricted(vcpu, nae))
		return;
	switch (nae->info1) {
	case NAE_DOORBELL_GET_PREFERRED:
		nae->result2 = NO_GPA; /* no preference */
		break;
	case NAE_DOORBELL_SET:
		if (!doorbell_set(vcpu, nae->info2))
			nae_refuse(nae, NAE_ERR_INVALID_INPUT);
		break;
	case NAE_DOORBELL_QUERY:
		nae->result2 = has_doorbell(vcpu) ? vcpu->doorbell.gpa : 0;
		break;
	case NAE_DOORBELL_CLEAR:
		doorbell_set(vcpu, NO_GPA);
		break;
	default:
		nae_refuse(nae, NAE_ERR_INVALID_INPUT);
	}
}

void nae_hv_ipi(struct vcpu *vcpu, struct nae *nae)
{
	if (is_restricted(vcpu, nae) && !ipi_hv(vcpu, nae->info1))
		nae_refuse(nae, NAE_ERR_INVALID_INPUT);
}

void nae_hv_timer(struct vcpu *vcpu, struct nae *nae)
{
	if (!offered(vcpu, nae, HV_FEATURE_RESTRICTED_INJECTION_TIMER, vcpu->vmpl))
		return;
	nae->result2 = vapic_timer_set_by_event(own_apic(vcpu), (u32)(nae->info1 & NAE_TIMER_LVT_MASK),
						(u32)(nae->info1 >> NAE_TIMER_DIVIDE_SHIFT), (u32)nae->info2, now_ns(vcpu->hv));
	vcpu->apic_dirty = true;
}

#define ALTERNATE_FEATURES (HV_FEATURE_ALTERNATE_INJECTION | HV_FEATURE_ALTERNATE_INJECTION_OLD)

void nae_configure_injection(struct vcpu *vcpu, struct nae *nae)
{
	if (!offered(vcpu, nae, ALTERNATE_FEATURES, 0))
		return;
	if (nae->info1 > APIC_ICR_VECTOR)
		nae_refuse(nae, NAE_ERR_INVALID_INPUT);
	else
		vcpu->doorbell.injection_vector = (u8)nae->info1;
}

void nae_disable_alternate_injection(struct vcpu *vcpu, struct nae *nae)
{
	u64 vmpl = nae->info1 >> NAE_DISABLE_VMPL_SHIFT;

	if (!offered(vcpu, nae, ALTERNATE_FEATURES, 0))
		return;
	if (!vmpl || vmpl >= CONFIG_VMPLS || !alternate_disable(vcpu, (u32)vmpl, (u8)(nae->info1 >> NAE_DISABLE_TPR_SHIFT)))
		nae_refuse(nae, NAE_ERR_INVALID_INPUT);
}

void nae_specific_eoi(struct vcpu *vcpu, struct nae *nae)
{
	u64 vmpl = nae->info1 >> NAE_EOI_VMPL_SHIFT;

	if (!offered(vcpu, nae, ALTERNATE_FEATURES, 0))
		return;
	if (vmpl != vcpu->guest_vmpl || (nae->info1 & 0xFF00) || fault_now(vcpu, CONFIG_FAULT_NAE))
		nae_refuse(nae, NAE_ERR_INVALID_INPUT);
	else
		physical_end_level(vcpu, nae->info1 & NAE_EOI_VECTOR_MASK);
}
