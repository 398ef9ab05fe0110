/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Alternate Injection (APM vol. 2, 15.36.16): a VMPL's interrupts are what its VMSA says in vintr_ctrl and event_inj.
 * The hypervisor's APIC of that VMPL delivers nothing by itself: what it requests goes to VMPL0's doorbell page.
 */
#include "cpu.h"
#include "ghcb.h"
#include "host.h"
#include "vectors.h"
#include "vmsa.h"

#define NMI_VECTOR 2

/* What VMCB and VMSA have in common (vintr_ctrl 3B8, VMCB 060). */
#define VINTR_OFFER (VMSA_VINTR_IRQ | VMSA_VINTR_IGN_TPR | VMSA_VINTR_PRIO_MASK << VMSA_VINTR_PRIO_SHIFT | \
		     VMSA_VINTR_VECTOR_MASK << VMSA_VINTR_VECTOR_SHIFT)

static bool first_time(u32 *seen, u8 vector)
{
	bool first = !vector_test(seen, vector);

	vector_set(seen, vector);
	return first;
}

bool fault_now(struct vcpu *vcpu, u32 fault)
{
	u32 *count = &vcpu->fault_count[__builtin_ctz(fault)];

	if (!(vcpu->host->config->faults & fault))
		return false;
	if (++*count < vcpu->host->config->fault_every)
		return false;
	*count = 0;
	return true;
}

void alternate_setup(struct vcpu *vcpu)
{
	vcpu->injected = -1;
	vcpu->doorbell.gpa = NO_GPA;
	if (vcpu->host->config->policy != CONFIG_POLICY_X2APIC_AT_RESET)
		return;
	for (u32 vmpl = 0; vmpl < CONFIG_VMPLS; vmpl++)
		vapic_force_x2apic(&vcpu->apic[vmpl]);
}

static void log_change(struct vcpu *vcpu, u32 vmpl, bool on)
{
	u64 base = vapic_base(&vcpu->apic[vmpl]);
	bool by_policy = on && vcpu->host->config->policy != CONFIG_POLICY_KVM && (base & APIC_BASE_EXTD);

	log_write(vcpu, (struct record){ .kind = RECORD_ALTERNATE, .address = vmpl, .value = on, .extra = base, .aux = by_policy });
	apic_mirror_pic(vcpu); /* its interrupts have no place in the doorbell page */
}

void alternate_begin(struct vcpu *vcpu, u32 vmpl, u64 features)
{
	struct vmpl_state *state = &vcpu->state[vmpl];
	bool on = features & SEV_FEATURES_ALTERNATE_INJECTION;

	if (on == state->alternate)
		return;
	state->alternate = on;
	if (on && vcpu->host->config->policy == CONFIG_POLICY_X2APIC_ON_ALTERNATE_INJECTION)
		vapic_force_x2apic(&vcpu->apic[vmpl]);
	log_change(vcpu, vmpl, on);
}

/* The SVSM has left requests, what is in service, and an NMI in the doorbell page. */
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
	vcpu->apic_dirty = true;
	log_change(vcpu, vmpl, false);
	return true;
}

/*
 * V_IRQ for VMRUN. QEMU takes a virtual interrupt whose priority equals V_TPR (ctl_has_irq), hardware only a higher one
 * (APM vol. 2, 15.21.4): it is held back here, and every CR8 write is looked at meanwhile; see also offer_interrupt().
 */
static void offer(struct vcpu *vcpu, struct vmcb_control *control, u64 tpr)
{
	u64 priority = (vcpu->offer >> SVM_V_PRIO_SHIFT) & VMSA_VINTR_PRIO_MASK;
	bool now = vcpu->offer && ((vcpu->offer & SVM_V_IGN_TPR) || priority > tpr);

	control->intercept_cr = vcpu->offer ? (u32)SVM_INTERCEPT_CR8_WRITE : 0;
	control->vintr = SVM_V_INTR_MASKING | tpr | (now ? vcpu->offer : 0);
	vcpu->vintr = control->vintr;
	vcpu->posted = now ? (int)((vcpu->offer >> SVM_V_VECTOR_SHIFT) & VMSA_VINTR_VECTOR_MASK) : -1;
}

void alternate_load(struct vcpu *vcpu, struct vmpl_state *state, const struct vmsa *vmsa)
{
	struct vmcb_control *control = &state->vmcb->control;
	u64 vintr = vmsa->vintr_ctrl;
	u64 type = control->event_inj & SVM_EVENT_TYPE_MASK;

	vcpu->offer = (vintr & VMSA_VINTR_IRQ) && (vintr & VMSA_VINTR_GIF) ? vintr & VINTR_OFFER : 0;
	vcpu->posted_extint = false;
	vcpu->injected = -1;
	if ((control->event_inj & SVM_EVENT_VALID) && type == SVM_EVENT_NMI) /* the vector does not count (APM vol. 2, 15.20) */
		control->event_inj = (control->event_inj & ~SVM_EVENT_VECTOR) | NMI_VECTOR;
	else if ((control->event_inj & SVM_EVENT_VALID) && type == SVM_EVENT_INTR)
		vcpu->injected = (int)(control->event_inj & SVM_EVENT_VECTOR);
	offer(vcpu, control, vintr & SVM_V_CR8);
}

void alternate_save(struct vcpu *vcpu, struct vmpl_state *state, struct vmsa *vmsa)
{
	vmsa->vintr_ctrl = (vmsa->vintr_ctrl & ~VMSA_VINTR_TPR_MASK) | (state->vmcb->control.vintr & SVM_V_CR8);
	if ((vmsa->vintr_ctrl & VMSA_VINTR_GIF) && !vcpu->offer)
		vmsa->vintr_ctrl &= ~VMSA_VINTR_IRQ;
	vcpu->posted = -1;
	vcpu->injected = -1;
}

void alternate_set_tpr(struct vcpu *vcpu, u8 cr8) { offer(vcpu, &vmcb(vcpu)->control, cr8); }

bool alternate_can_take(struct vcpu *vcpu)
{
	const struct vmcb *page = vmcb(vcpu);

	if (page->control.event_inj & SVM_EVENT_VALID)
		return true;
	return (page->save.rflags & RFLAGS_IF) && (page->control.vintr & SVM_V_IRQ);
}

static void log_taken(struct vcpu *vcpu, u8 vector)
{
	if (first_time(vcpu->taken_seen, vector) || log_at(vcpu, 2))
		log_write(vcpu, (struct record){ .kind = RECORD_INTERRUPT, .rip = guest_pc(vcpu), .address = vector,
						 .value = RECORD_IRQ_SVSM });
}

/* The guest has taken what the VMSA injected or offered, unless its delivery was cut short (event_after_exit()). */
void alternate_after_exit(struct vcpu *vcpu)
{
	struct vmpl_state *state = current(vcpu);
	u64 cut_short = state->vmcb->control.exit_int_info & SVM_EVENT_VALID;

	if (vcpu->injected >= 0 && !cut_short) {
		log_taken(vcpu, (u8)vcpu->injected);
		vcpu->injected = -1;
	}
	if (vcpu->posted >= 0 && !(state->vmcb->control.vintr & SVM_V_IRQ)) {
		log_taken(vcpu, (u8)vcpu->posted);
		vcpu->offer = 0;
		offer(vcpu, &state->vmcb->control, state->vmcb->control.vintr & SVM_V_CR8);
	}
}

static void log_posted(struct vcpu *vcpu, u8 vector, bool level, bool lost)
{
	if (first_time(vcpu->posted_seen, vector) || lost || log_at(vcpu, 2))
		log_write(vcpu, (struct record){ .kind = RECORD_DOORBELL, .address = vector, .value = vcpu->irq_source[vector],
						 .size = level, .aux = vcpu->guest_vmpl,
						 .outcome = lost ? RECORD_ERROR : RECORD_OK });
}

/* CONFIG_FAULT_DELAYED_INTERRUPT: what is requested now waits. */
static bool delayed(struct vcpu *vcpu)
{
	u64 now;

	if (!(vcpu->host->config->faults & CONFIG_FAULT_DELAYED_INTERRUPT))
		return false;
	now = now_ns(vcpu->host);
	if (!vcpu->delayed_until_ns && fault_now(vcpu, CONFIG_FAULT_DELAYED_INTERRUPT))
		vcpu->delayed_until_ns = now + vcpu->host->config->fault_delay_us * 1000ull;
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
			continue; /* the field for level-triggered vectors is taken */
		vapic_withdraw(apic, (u8)vector);
		log_posted(vcpu, (u8)vector, level, lost);
	}
}
