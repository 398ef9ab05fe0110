/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The hypervisor's APIC of that VMPL delivers nothing by itself. */
#include "alternate.h"
#include "doorbell.h"
#include "physical_apic.h"
#include "vectors.h"

void alternate_setup(struct vcpu *vcpu)
{
	vcpu->doorbell.gpa = NO_GPA;
	if (vcpu->hv->config->policy != CONFIG_POLICY_X2APIC_AT_RESET)
		return;
	for (u32 vmpl = 0; vmpl < CONFIG_VMPLS; vmpl++)
		vapic_force_x2apic(&vcpu->apic[vmpl]);
}

static void log_change(struct vcpu *vcpu, u32 vmpl, bool on)
{
	u64 base = vapic_base(&vcpu->apic[vmpl]);
	bool by_policy = on && vcpu->hv->config->policy != CONFIG_POLICY_KVM && (base & APIC_BASE_EXTD);

	hw_log(vcpu->cpu, (struct record){ .kind = RECORD_ALTERNATE, .address = vmpl, .value = on, .extra = base, .aux = by_policy });
	physical_mirror_pic(vcpu); /* its interrupts have no place in the doorbell page */
}

void alternate_begin(struct vcpu *vcpu, u32 vmpl, u64 features)
{
	struct vmpl_state *state = &vcpu->state[vmpl];
	bool on = features & SEV_FEATURES_ALTERNATE_INJECTION;

	if (on == state->alternate)
		return;
	state->alternate = on;
	if (on && vcpu->hv->config->policy == CONFIG_POLICY_X2APIC_ON_ALTERNATE_INJECTION) {
		vapic_force_x2apic(&vcpu->apic[vmpl]);
		hw_observe_apic_base(vcpu->cpu, vmpl, vapic_base(&vcpu->apic[vmpl]));
	}
	log_change(vcpu, vmpl, on);
}

/* The SVSM has stored requests, vectors in service and an NMI in the doorbell page. */
bool alternate_disable(struct vcpu *vcpu, u32 vmpl, u8 tpr)
{
	struct vmpl_state *state = &vcpu->state[vmpl];
	volatile struct ghcb_doorbell_vmpl *entry = doorbell_entry(vcpu, vmpl);
	u32 irr[APIC_VECTOR_WORDS] = { 0 }, isr[APIC_VECTOR_WORDS] = { 0 };
	u8 pending;

	if (!state->alternate || !entry)
		return false;
	pending = entry->status & GHCB_DOORBELL_STATUS_VECTOR;
	if (entry->status & GHCB_DOORBELL_STATUS_VECTOR31)
		irr[0] = BIT(31);
	for (u32 i = 1; i < APIC_VECTOR_WORDS; i++)
		irr[i] = entry->irr[i - 1];
	for (u32 i = 0; i < APIC_VECTOR_WORDS; i++)
		isr[i] = entry->isr[i];
	/* With MULTIPLE set the single vector counts only if it is level-triggered: the SVSM has copied it otherwise. */
	if (pending && (!(entry->status & GHCB_DOORBELL_STATUS_MULTIPLE) || (entry->status & GHCB_DOORBELL_STATUS_LEVEL)))
		vector_set(irr, pending);
	if (entry->status & GHCB_DOORBELL_STATUS_NMI)
		vcpu->nmi_pending = true;
	entry->status = 0;
	for (u32 i = 0; i < APIC_VECTOR_WORDS - 1; i++)
		entry->irr[i] = 0;
	vapic_restore(&vcpu->apic[vmpl], irr, isr, tpr);
	state->alternate = false;
	state->sev_features &= ~SEV_FEATURES_ALTERNATE_INJECTION;
	hw_vmsa_features(vcpu->cpu, vmpl, state->sev_features);
	vcpu->apic_dirty = true;
	log_change(vcpu, vmpl, false);
	return true;
}

static void log_posted(struct vcpu *vcpu, u8 vector, bool level, bool lost)
{
	if (vector_add(vcpu->posted_seen, vector) || lost || log_at(vcpu, 2))
		hw_log(vcpu->cpu, (struct record){ .kind = RECORD_DOORBELL, .address = vector, .value = vcpu->irq_source[vector],
						 .size = level, .aux = vcpu->guest_vmpl,
						 .outcome = lost ? RECORD_ERROR : RECORD_OK });
}

/* CONFIG_FAULT_DELAYED_INTERRUPT: a request waits from now on. */
static bool delayed(struct vcpu *vcpu)
{
	u64 now;

	if (!(vcpu->hv->config->faults & CONFIG_FAULT_DELAYED_INTERRUPT))
		return false;
	now = now_ns(vcpu->hv);
	if (!vcpu->delayed_until_ns && fault_now(vcpu, CONFIG_FAULT_DELAYED_INTERRUPT))
		vcpu->delayed_until_ns = now + vcpu->hv->config->fault_delay_us * 1000ull;
	if (vcpu->delayed_until_ns > now)
		return true;
	vcpu->delayed_until_ns = 0;
	return false;
}

void alternate_post(struct vcpu *vcpu)
{
	struct vapic *apic = guest_apic(vcpu);
	int vector = VECTOR_END;

	if (!has_doorbell(vcpu))
		return;
	if (vcpu->nmi_pending) {
		doorbell_post_nmi(vcpu, vcpu->guest_vmpl);
		vcpu->nmi_pending = false;
	}
	if (!vapic_requested(apic) || delayed(vcpu))
		return;
	while ((vector = vapic_request_below(apic, vector)) >= 0) {
		bool level = vapic_is_level(apic, (u8)vector);
		bool lost = fault_now(vcpu, CONFIG_FAULT_LOST_INTERRUPT);

		if (!lost && !doorbell_post(vcpu, vcpu->guest_vmpl, (u8)vector, level))
			continue; /* the field for level-triggered vectors is in use */
		vapic_withdraw(apic, (u8)vector);
		log_posted(vcpu, (u8)vector, level, lost);
	}
}

void alternate_log_anew(struct vcpu *vcpu)
{
	for (u32 i = 0; i < APIC_VECTOR_WORDS; i++)
		vcpu->posted_seen[i] = 0;
	hw_observe_vectors_anew(vcpu->cpu);
}
