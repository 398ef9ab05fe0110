/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The virtual local APIC's interrupts: requests, priorities, IPIs, destinations. */
#include "vapic_internal.h"
#include "vectors.h"

bool vapic_is_enabled(const struct vapic *apic)
{
	return apic->base & APIC_BASE_EN;
}

bool vapic_is_x2apic(const struct vapic *apic)
{
	return vapic_is_enabled(apic) && (apic->base & APIC_BASE_EXTD);
}

void vapic_request(struct vapic *apic, u8 vector, bool level)
{
	if (level)
		vector_set(apic->tmr, vector);
	else
		vector_clear(apic->tmr, vector);
	vector_set(apic->irr, vector);
}

u32 vapic_priority(const struct vapic *apic)
{
	int vector = vector_highest(apic->isr);
	u32 in_service = vector < 0 ? 0 : (u32)vector & APIC_PRIORITY_CLASS;

	if ((apic->tpr & APIC_PRIORITY_CLASS) >= in_service)
		return apic->tpr;
	return in_service;
}

/* ESR shows an error after the next write of it; the LVT's interrupt comes at once (SDM 11.5.3). */
void vapic_record_error(struct vapic *apic, u32 error)
{
	u32 lvt = apic->lvt[LVT_ERROR];
	u8 vector = lvt & APIC_LVT_VECTOR;

	apic->esr_pending |= error;
	if (!(lvt & APIC_LVT_MASKED) && vector >= APIC_FIRST_LEGAL_VECTOR)
		vapic_request(apic, vector, false);
}

bool vapic_post(struct vapic *apic, u8 vector, bool level)
{
	if (!vapic_is_enabled(apic) || !vapic_is_software_enabled(apic))
		return false;
	if (vector < APIC_FIRST_LEGAL_VECTOR) {
		vapic_record_error(apic, APIC_ESR_RECEIVE_VECTOR);
		return false;
	}
	vapic_request(apic, vector, level);
	return true;
}

/* Software disable does not hold back interrupts that are in IRR already (SDM 11.4.7.2). */
int vapic_pending(const struct vapic *apic)
{
	int vector = vector_highest(apic->irr);

	if (!vapic_is_enabled(apic) || vector < 0)
		return -1;
	if (((u32)vector & APIC_PRIORITY_CLASS) <= (vapic_priority(apic) & APIC_PRIORITY_CLASS))
		return -1;
	return vector;
}

bool vapic_requested(const struct vapic *apic)
{
	return vector_highest(apic->irr) >= 0;
}

int vapic_request_below(const struct vapic *apic, int below)
{
	return vector_highest_below(apic->irr, (u32)below);
}

bool vapic_is_level(const struct vapic *apic, u8 vector)
{
	return vector_test(apic->tmr, vector);
}

bool vapic_has(const struct vapic *apic, u8 vector)
{
	return vector_test(apic->irr, vector) || vector_test(apic->isr, vector);
}

void vapic_withdraw(struct vapic *apic, u8 vector)
{
	vector_clear(apic->irr, vector);
}

void vapic_restore(struct vapic *apic, const u32 irr[APIC_VECTOR_WORDS], const u32 isr[APIC_VECTOR_WORDS], u8 tpr)
{
	for (u32 i = 0; i < APIC_VECTOR_WORDS; i++) {
		apic->irr[i] |= irr[i];
		apic->isr[i] = isr[i];
	}
	apic->tpr = tpr;
}

void vapic_accept(struct vapic *apic, u8 vector)
{
	vector_clear(apic->irr, vector);
	vector_set(apic->isr, vector);
}

/* TMR keeps its bit, as in KVM, until the next interrupt of that vector. */
void vapic_end_of_interrupt(struct vapic *apic, struct vapic_effect *effect)
{
	int vector = vector_highest(apic->isr);

	if (vector < 0)
		return;
	vector_clear(apic->isr, (u8)vector);
	effect->eoi = true;
	effect->eoi_vector = (u8)vector;
	effect->eoi_level = vector_test(apic->tmr, (u8)vector);
}

u8 vapic_tpr(const struct vapic *apic)
{
	return (u8)apic->tpr;
}

void vapic_set_tpr(struct vapic *apic, u8 tpr)
{
	apic->tpr = tpr;
}

void vapic_send_ipi(struct vapic *apic, u64 icr, struct vapic_effect *effect)
{
	u32 delivery = (icr & APIC_ICR_DELIVERY) >> APIC_ICR_DELIVERY_SHIFT;
	bool fixed = delivery == APIC_DELIVER_FIXED || delivery == APIC_DELIVER_LOWEST;
	u8 vector = icr & APIC_ICR_VECTOR;
	bool level = icr & APIC_ICR_LEVEL;

	if (fixed && vector < APIC_FIRST_LEGAL_VECTOR) {
		vapic_record_error(apic, APIC_ESR_SEND_VECTOR);
		return;
	}
	if (fixed && level && !(icr & APIC_ICR_ASSERT)) /* a de-assertion delivers nothing */
		return;
	if (fixed && (icr & APIC_ICR_SHORTHAND) == APIC_SHORTHAND_SELF) {
		vapic_post(apic, vector, level);
		return;
	}
	effect->ipi = true;
	effect->icr = icr;
}

bool vapic_accepts_extint(const struct vapic *apic)
{
	u32 lvt = apic->lvt[LVT_LINT0];

	if (!vapic_is_enabled(apic)) /* LINT0 is the processor's INTR pin then (SDM 11.4.3) */
		return true;
	return !(lvt & APIC_LVT_MASKED) && (lvt & APIC_LVT_DELIVERY) >> APIC_LVT_DELIVERY_SHIFT == APIC_DELIVER_EXTINT;
}

/* Destinations: APM 16.6, SDM 11.6.2 and 11.12.10; KVM kvm_apic_match_physical_addr and kvm_apic_match_logical_addr. */

/* An ID that 8 bits cannot hold is matched in xAPIC mode too, as KVM does for processors that start late. */
static bool match_physical(const struct vapic *apic, u32 destination)
{
	if (vapic_is_x2apic(apic) || destination > 0xff)
		return destination == apic->config.apic_id;
	return destination == apic->id >> APIC_ID_SHIFT;
}

static bool match_logical(const struct vapic *apic, u32 destination)
{
	u32 id = apic->ldr >> APIC_ID_SHIFT;

	if (vapic_is_x2apic(apic))
		return apic->ldr >> 16 == destination >> 16 && (apic->ldr & destination & 0xffff);
	if (apic->dfr == APIC_DFR_FLAT)
		return id & destination;
	if (apic->dfr == APIC_DFR_CLUSTER)
		return id >> 4 == destination >> 4 && (id & destination & 0xf);
	return false;
}

bool vapic_match_destination(const struct vapic *apic, u32 destination, bool logical)
{
	if (!vapic_is_enabled(apic))
		return false;
	if (destination == APIC_BROADCAST)
		return true;
	if (destination == APIC_BROADCAST_XAPIC && !vapic_is_x2apic(apic))
		return true;
	return logical ? match_logical(apic, destination) : match_physical(apic, destination);
}
