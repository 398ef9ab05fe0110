/* SPDX-License-Identifier: GPL-2.0-or-later */
/* NMIs that the guest sends to itself by the ICR (COCONUT kernel/src/cpu/apic.rs, post_icr_interrupt, request_nmi). */
#include "groups.h"
#include "cpu.h"
#include "platform.h"
#include "svsm_apic.h"
#include "trap.h"

#define VECTOR 0x61
#define NMI    ((u64)APIC_DELIVER_NMI << APIC_ICR_DELIVERY_SHIFT)

enum target { SELF, ALL, OWN_ID, BROADCAST };

static void send_nmi(enum target target)
{
	u64 icr = NMI | APIC_SHORTHAND_SELF;

	if (target == ALL)
		icr = NMI | APIC_SHORTHAND_ALL;
	else if (target == OWN_ID)
		icr = NMI | read_register(X2(APIC_ID)) << APIC_ICR_DESTINATION_SHIFT;
	else if (target == BROADCAST)
		icr = NMI | (u64)APIC_BROADCAST << APIC_ICR_DESTINATION_SHIFT;
	EQUAL(write_register(X2(APIC_ICR), icr), SVSM_SUCCESS);
}

/* Waits with interrupts off. */
static bool nmi_comes(u64 count)
{
	for (u32 wait = 0; wait < 1000000 && interrupts[VECTOR_NMI] < count && !tap_time_is_up(); wait++)
		pause();
	return interrupts[VECTOR_NMI] >= count;
}

static void arrives_with_interrupts_off(u64 target)
{
	send_nmi((enum target)target);
	CHECK(nmi_comes(1));
	let_pass();
	EQUAL(interrupts[VECTOR_NMI], 1);
	EQUAL(in_service(), 0);
}

/* An NMI has no vector, is edge-triggered, and a shorthand has no destination. */
static void ignored_bits(void)
{
	const u64 bits = APIC_ICR_VECTOR | APIC_ICR_LOGICAL | APIC_ICR_ASSERT | APIC_ICR_LEVEL |
			 (u64)APIC_BROADCAST << APIC_ICR_DESTINATION_SHIFT;
	u64 sent = 0;

	for (u32 bit = 0; bit < 64; bit++) {
		if (!(bits & BIT(bit)))
			continue;
		EQUAL_OF(bit, write_register(X2(APIC_ICR), NMI | APIC_SHORTHAND_SELF | BIT(bit)), SVSM_SUCCESS);
		if (!EQUAL_OF(bit, nmi_comes(++sent), true))
			return;
	}
	EQUAL(in_service(), 0);
}

static void others(void)
{
	EQUAL(write_register(X2(APIC_ICR), NMI | APIC_SHORTHAND_OTHERS), SVSM_SUCCESS);
	let_pass();
	EQUAL(interrupts[VECTOR_NMI], 0);
}

static void no_priority(void)
{
	write_register(X2(APIC_TPR), 0xF0);
	send_nmi(SELF);
	CHECK(nmi_comes(1));
	EQUAL(interrupts[VECTOR_NMI], 1);
}

static u64 nmis_before;

static void note_nmis(u8 vector)
{
	if (vector == VECTOR)
		nmis_before = interrupts[VECTOR_NMI];
	end_interrupt(vector);
}

static void before_an_interrupt(void)
{
	nmis_before = 0;
	on_interrupt = note_nmis;
	send_self(VECTOR);
	send_nmi(SELF);
	CHECK(comes(&interrupts[VECTOR], 1));
	EQUAL(interrupts[VECTOR_NMI], 1);
	EQUAL(nmis_before, 1);
	EQUAL(interrupts[VECTOR], 1);
}

static void several(void)
{
	for (u64 count = 1; count <= 20; count++) {
		send_nmi(SELF);
		if (!EQUAL_OF(count, nmi_comes(count), true))
			return;
	}
	let_pass();
	EQUAL(interrupts[VECTOR_NMI], 20);
}

static const struct point points[] = {
	{ "nmi/icr-self", NEED_PROTOCOL, .run_with = arrives_with_interrupts_off, SELF },
	{ "nmi/icr-all", NEED_PROTOCOL, .run_with = arrives_with_interrupts_off, ALL },
	{ "nmi/icr-own-id", NEED_PROTOCOL, .run_with = arrives_with_interrupts_off, OWN_ID },
	{ "nmi/icr-broadcast", NEED_PROTOCOL, .run_with = arrives_with_interrupts_off, BROADCAST },
	{ "nmi/icr-vector-and-others-ignored", NEED_PROTOCOL, .run = ignored_bits },
	{ "nmi/icr-others-is-not-self", NEED_PROTOCOL, .run = others },
	{ "nmi/tpr-does-not-hold-it", NEED_PROTOCOL, .run = no_priority },
	{ "nmi/before-an-interrupt", NEED_PROTOCOL, .run = before_an_interrupt },
	{ "nmi/several", NEED_PROTOCOL, .run = several },
};

GROUP(nmi_group, points, svsm_apic_prepare);
