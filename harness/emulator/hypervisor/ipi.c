/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Interrupts from one vCPU to others, or to itself (APM vol. 2, 16.5 and 16.6; SDM vol. 3A, 11.6). */
#include "ipi.h"
#include "apic.h"
#include "doorbell.h"
#include "ipi_destination.h"
#include "startup.h"

/* A shorthand reaches an APIC that is disabled as well: INIT and SIPI start those. */
static bool reaches(struct vcpu *sender, struct vcpu *target, u64 icr)
{
	if (icr & APIC_ICR_SHORTHAND)
		return icr_shorthand_reaches(icr, target == sender);
	return vapic_match_destination(&target->apic[sender->vmpl], icr_destination(icr), icr & APIC_ICR_LOGICAL);
}

static void deliver(struct vcpu *sender, struct vcpu *target, u64 icr)
{
	struct vapic *apic = &target->apic[sender->vmpl];
	bool deassert = (icr & APIC_ICR_LEVEL) && !(icr & APIC_ICR_ASSERT);

	target->apic_dirty = true;
	sender->yield |= target->wait != WAIT_NOTHING; /* another processor would continue at once */
	switch ((icr & APIC_ICR_DELIVERY) >> APIC_ICR_DELIVERY_SHIFT) {
	case APIC_DELIVER_FIXED:
	case APIC_DELIVER_LOWEST:
		post_interrupt(target, apic, (u8)icr, icr & APIC_ICR_LEVEL, RECORD_IRQ_IPI);
		break;
	case APIC_DELIVER_NMI:
		target->nmi_pending |= apic == guest_apic(target); /* VMPL0 gets no NMI */
		break;
	case APIC_DELIVER_INIT:
		if (!is_guest(sender) || deassert)
			break;
		if (target == sender) /* after this instruction: schedule() */
			sender->init_pending = sender->yield = true;
		else
			startup_init(target);
		break;
	case APIC_DELIVER_STARTUP: /* without effect on the sender, which runs */
		if (is_guest(sender))
			startup_sipi(target, (u8)icr);
		break;
	}
}

/* Lowest priority: the first of those whose processor priority is the lowest. */
static u32 deliver_to_one(struct vcpu *sender, u64 icr)
{
	struct vcpu *found = NULL;
	u32 lowest = 0;

	for (u32 i = 0; i < sender->hv->vcpus; i++) {
		struct vcpu *target = &sender->hv->vcpu[i];
		u32 priority = vapic_priority(&target->apic[sender->vmpl]);

		if (!reaches(sender, target, icr) || (found && priority >= lowest))
			continue;
		found = target;
		lowest = priority;
	}
	if (found)
		deliver(sender, found, icr);
	return found != NULL;
}

void ipi_from_device(struct hypervisor *hv, u64 icr, bool level)
{
	bool lowest = (icr & APIC_ICR_DELIVERY) >> APIC_ICR_DELIVERY_SHIFT == APIC_DELIVER_LOWEST;

	for (u32 i = 0; i < hv->vcpus; i++) {
		struct vcpu *target = &hv->vcpu[i];

		if (!vapic_match_destination(guest_apic(target), icr_destination(icr), icr & APIC_ICR_LOGICAL))
			continue;
		post_interrupt(target, guest_apic(target), (u8)icr, level, RECORD_IRQ_IOAPIC);
		target->apic_dirty = true;
		if (lowest)
			return;
	}
}

u32 ipi_send(struct vcpu *vcpu, u64 icr)
{
	u32 reached = 0;

	if ((icr & APIC_ICR_DELIVERY) >> APIC_ICR_DELIVERY_SHIFT == APIC_DELIVER_LOWEST)
		return deliver_to_one(vcpu, icr);
	for (u32 i = 0; i < vcpu->hv->vcpus; i++) {
		if (!reaches(vcpu, &vcpu->hv->vcpu[i], icr))
			continue;
		deliver(vcpu, &vcpu->hv->vcpu[i], icr);
		reached++;
	}
	return reached;
}

/* Destinations of the #HV IPI have x2APIC form in every mode of the APICs. */
bool ipi_hv(struct vcpu *vcpu, u64 icr)
{
	u8 vector = icr & APIC_ICR_VECTOR;

	if ((icr & (APIC_ICR_DELIVERY | APIC_ICR_X2_RESERVED)) || vector < APIC_FIRST_LEGAL_VECTOR)
		return false;
	for (u32 i = 0; i < vcpu->hv->vcpus; i++) {
		struct vcpu *target = &vcpu->hv->vcpu[i];

		if (!x2apic_ipi_reaches(icr, vcpu->index, target->index))
			continue;
		doorbell_post_own(target, vector);
		vcpu->yield |= target->wait != WAIT_NOTHING;
	}
	return true;
}
