/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ISR, IRR, TMR and the class of PPR before, in and after a handler (COCONUT kernel/src/cpu/apic.rs; APM vol. 2, 16.6).
 * classes/ppr-low-nibble has the rest of PPR.
 */
#include "groups.h"
#include "platform.h"
#include "svsm_apic.h"
#include "trap.h"

#define LOW  0x55
#define HIGH 0xA1

static struct seen {
	bool irr, isr, tmr;
	u64 ppr;
	u32 in_service;
} seen;

static u64 ppr_class(void) { return read_register(X2(APIC_PPR)) & ~0xFull; }

static struct seen look(u8 vector)
{
	return (struct seen){ .irr = in_irr(vector), .isr = in_isr(vector), .tmr = in_tmr(vector), .ppr = ppr_class(),
			      .in_service = in_service() };
}

static void look_and_end(u8 vector)
{
	seen = look(vector);
	end_interrupt(vector);
}

static void pending(void)
{
	struct seen before;

	send_self(LOW); /* interrupts are off */
	before = look(LOW);
	EQUAL(before.irr, 1);
	EQUAL(before.isr, 0);
	EQUAL(before.tmr, 0);
	EQUAL(before.ppr, 0);
	CHECK(comes(&interrupts[LOW], 1));
}

static void in_handler(void)
{
	on_interrupt = look_and_end;
	send_self(LOW);
	CHECK(comes(&interrupts[LOW], 1));
	EQUAL(seen.irr, 0);
	EQUAL(seen.isr, 1);
	EQUAL(seen.tmr, 0);
	EQUAL(seen.in_service, 1);
	EQUAL(seen.ppr, LOW & APIC_PRIORITY_CLASS);
}

static void afterwards(void)
{
	struct seen after;

	send_self(LOW);
	CHECK(comes(&interrupts[LOW], 1));
	after = look(LOW);
	EQUAL(after.irr, 0);
	EQUAL(after.isr, 0);
	EQUAL(after.in_service, 0);
	EQUAL(after.ppr, 0);
}

static struct seen outer;

static void nest_and_look(u8 vector)
{
	if (vector == LOW) {
		send_self(HIGH);
		comes(&interrupts[HIGH], 1);
		outer = look(LOW);
	} else {
		seen = look(LOW);
	}
	end_interrupt(vector);
}

static void both_in_service(void)
{
	on_interrupt = nest_and_look;
	send_self(LOW);
	CHECK(comes(&interrupts[LOW], 1));
	EQUAL(seen.isr, 1);
	EQUAL(seen.in_service, 2);
	EQUAL(seen.ppr, HIGH & APIC_PRIORITY_CLASS);
	EQUAL(outer.isr, 1);
	EQUAL(outer.in_service, 1);
	EQUAL(outer.ppr, LOW & APIC_PRIORITY_CLASS);
}

static void sent_twice_is_one(void)
{
	send_self(LOW);
	send_self(LOW);
	EQUAL(in_irr(LOW), 1);
	CHECK(comes(&interrupts[LOW], 1));
	let_pass();
	EQUAL(interrupts[LOW], 1);
}

static void send_again_once(u8 vector)
{
	if (interrupts[vector] == 1) {
		send_self(vector);
		seen = look(vector);
	}
	end_interrupt(vector);
}

static void sent_again_in_its_handler(void)
{
	on_interrupt = send_again_once;
	send_self(LOW);
	CHECK(comes(&interrupts[LOW], 2));
	let_pass();
	EQUAL(interrupts[LOW], 2);
	EQUAL(seen.irr, 1);
	EQUAL(seen.isr, 1);
}

static u64 ppr_above, ppr_below, ppr_same;

static void move_tpr(u8 vector)
{
	write_register(X2(APIC_TPR), 0xB0);
	ppr_above = ppr_class();
	write_register(X2(APIC_TPR), 0x20);
	ppr_below = ppr_class();
	write_register(X2(APIC_TPR), vector & APIC_PRIORITY_CLASS);
	ppr_same = ppr_class();
	write_register(X2(APIC_TPR), 0);
	end_interrupt(vector);
}

static void ppr_is_the_higher(void)
{
	on_interrupt = move_tpr;
	send_self(LOW);
	CHECK(comes(&interrupts[LOW], 1));
	EQUAL(ppr_above, 0xB0);
	EQUAL(ppr_below, LOW & APIC_PRIORITY_CLASS);
	EQUAL(ppr_same, LOW & APIC_PRIORITY_CLASS);
}

/* A read makes the SVSM take an interrupt back that it had offered: it must still be delivered, once. */
static void reading_loses_nothing(void)
{
	for (u64 round = 1; round <= 50; round++) {
		send_self(LOW);
		send_self(HIGH);
		for (u32 word = 0; word < APIC_VECTOR_WORDS; word++)
			read_register(X2(APIC_IRR) + word);
		if (!EQUAL_OF(round, comes(&interrupts[LOW], round), true))
			return;
		EQUAL_OF(round, interrupts[HIGH], round);
		EQUAL_OF(round, interrupts[LOW], round);
	}
}

static const struct point points[] = {
	{ "in-service/pending-is-in-irr", NEED_PROTOCOL, .run = pending },
	{ "in-service/handler-is-in-isr", NEED_PROTOCOL, .run = in_handler },
	{ "in-service/empty-afterwards", NEED_PROTOCOL, .run = afterwards },
	{ "in-service/nested-both-in-isr", NEED_PROTOCOL, .run = both_in_service },
	{ "in-service/sent-twice-is-one", NEED_PROTOCOL, .run = sent_twice_is_one },
	{ "in-service/sent-again-in-its-handler", NEED_PROTOCOL, .run = sent_again_in_its_handler },
	{ "in-service/ppr-is-the-higher-of-two", NEED_PROTOCOL, .run = ppr_is_the_higher },
	{ "in-service/reading-loses-nothing", NEED_PROTOCOL, .run = reading_loses_nothing },
};

GROUP(in_service_group, points, svsm_apic_prepare);
