/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "nae.h"

#include "ghcb_call.h"

bool nae_create_vmsa(struct vcpu *vcpu, u32 apic_id, u32 vmpl, u64 vmsa_gpa, u64 sev_features)
{
	struct nae_event event = {
		.code = NAE_AP_CREATION,
		.info1 = NAE_AP_CREATE | ((u64)vmpl << NAE_AP_VMPL_SHIFT) | ((u64)apic_id << NAE_AP_APIC_ID_SHIFT),
		.info2 = vmsa_gpa,
		.has_rax = true,
		.rax = sev_features,
	};

	return ghcb_call(vcpu, &event);
}

bool nae_read_msr(struct vcpu *vcpu, u32 msr, u64 *value)
{
	struct nae_event event = { .code = NAE_MSR, .info1 = NAE_MSR_READ, .has_rax = true, .has_rcx = true, .rcx = msr,
				   .has_rdx = true };

	if (!ghcb_call(vcpu, &event))
		return false;
	*value = event.rdx << 32 | (u32)event.rax;
	return true;
}

bool nae_write_msr(struct vcpu *vcpu, u32 msr, u64 value)
{
	struct nae_event event = {
		.code = NAE_MSR,
		.info1 = NAE_MSR_WRITE,
		.has_rax = true,
		.rax = (u32)value,
		.has_rcx = true,
		.rcx = msr,
		.has_rdx = true,
		.rdx = value >> 32,
	};

	return ghcb_call(vcpu, &event);
}

static bool ask(struct vcpu *vcpu, u64 code, u64 info1, u64 info2)
{
	struct nae_event event = { .code = code, .info1 = info1, .info2 = info2 };

	return ghcb_call(vcpu, &event);
}

bool nae_set_doorbell(struct vcpu *vcpu, u64 gpa)
{
	return ask(vcpu, NAE_HV_DOORBELL, NAE_DOORBELL_SET, gpa);
}

bool nae_configure_injection(struct vcpu *vcpu, u8 vector)
{
	return ask(vcpu, NAE_CONFIGURE_INJECTION, vector, 0);
}

bool nae_specific_eoi(struct vcpu *vcpu, u8 vector)
{
	return ask(vcpu, NAE_SPECIFIC_EOI, (u64)vcpu->svsm->boot.guest_vmpl << NAE_EOI_VMPL_SHIFT | vector, 0);
}

bool nae_disable_alternate_injection(struct vcpu *vcpu, u8 tpr, bool shadow, bool interrupts_enabled)
{
	return ask(vcpu, NAE_DISABLE_ALTERNATE_INJECTION,
		   (u64)vcpu->svsm->boot.guest_vmpl << NAE_DISABLE_VMPL_SHIFT | (u64)tpr << NAE_DISABLE_TPR_SHIFT |
			   (shadow ? NAE_DISABLE_SHADOW : 0) | (interrupts_enabled ? NAE_DISABLE_IF : 0),
		   0);
}

bool nae_ipi(struct vcpu *vcpu, u64 icr)
{
	return ask(vcpu, NAE_HV_IPI, icr, 0);
}

bool nae_set_timer(struct vcpu *vcpu, u32 lvt, u32 divide, u32 initial)
{
	return ask(vcpu, NAE_HV_TIMER, (u64)divide << NAE_TIMER_DIVIDE_SHIFT | lvt, initial);
}
