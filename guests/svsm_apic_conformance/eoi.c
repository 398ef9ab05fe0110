/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The end of an interrupt: by a call, or by clearing no_eoi_required in the calling area if the SVSM has set it
 * (COCONUT kernel/src/cpu/apic.rs, lazy_eoi_pending). A guest may use either way; an SVSM need not set the byte.
 */
#include "groups.h"
#include "platform.h"
#include "start.h"
#include "svsm_apic.h"
#include "trap.h"

#define LOW  0x55
#define HIGH 0xA1

static u64 highest_after, ended_first, ended_second;
static bool permission;

static u8 may_end_lazily(void) { return calling_area()[SVSM_CAA_NO_EOI_REQUIRED]; }

static void nothing_in_service(void)
{
	for (u32 i = 0; i < 3; i++)
		EQUAL(end_by_call(), SVSM_SUCCESS);
	EQUAL(in_service(), 0);
	send_self(LOW);
	CHECK(comes(&interrupts[LOW], 1));
}

static void call_in_handler(u8 vector)
{
	tap_count_interrupt();
	ended_first = end_by_call();
	highest_after = in_isr(vector);
}

/* A call is also correct when no_eoi_required is set. */
static void by_call(void)
{
	on_interrupt = call_in_handler;
	for (u64 round = 1; round <= 3; round++) {
		send_self(LOW);
		CHECK(comes(&interrupts[LOW], round));
		EQUAL(ended_first, SVSM_SUCCESS);
		EQUAL(highest_after, 0);
		EQUAL(in_service(), 0);
	}
}

static void as_permitted(u8 vector)
{
	tap_count_interrupt();
	if (!end_lazily())
		end_by_call();
	highest_after = in_isr(vector);
}

/* After either way nothing is in service and the next interrupt is delivered. */
static void without_call(void)
{
	on_interrupt = as_permitted;
	for (u64 round = 1; round <= 50; round++) {
		send_self(LOW);
		if (!EQUAL_OF(round, comes(&interrupts[LOW], round), true))
			return;
		EQUAL_OF(round, highest_after, 0);
	}
	let_pass();
	EQUAL(interrupts[LOW], 50);
}

/* The end of the inner interrupt, by either way, does not end the outer one. */
static void once_only(u8 vector)
{
	tap_count_interrupt();
	if (vector == LOW) {
		send_self(HIGH);
		comes(&interrupts[HIGH], 1);
		highest_after = in_isr(LOW);
		end_by_call();
	} else if (!end_lazily()) {
		end_by_call();
	}
}

static void outer_stays(void)
{
	on_interrupt = once_only;
	send_self(LOW);
	CHECK(comes(&interrupts[LOW], 1));
	EQUAL(interrupts[HIGH], 1);
	EQUAL(highest_after, 1);
	EQUAL(in_service(), 0);
}

static void note_permission(u8 vector)
{
	tap_count_interrupt();
	if (vector == HIGH)
		permission = may_end_lazily();
	if (!end_lazily())
		end_by_call();
}

/* While another interrupt waits, the end requires a call. */
static void not_with_another_pending(void)
{
	on_interrupt = note_permission;
	send_self(LOW);
	send_self(HIGH);
	CHECK(comes(&interrupts[LOW], 1));
	EQUAL(permission, 0);
}

static void take_another(u8 vector)
{
	tap_count_interrupt();
	if (vector == HIGH) {
		send_self(LOW);
		permission = may_end_lazily();
	}
	if (!end_lazily())
		end_by_call();
}

static void withdrawn(void)
{
	on_interrupt = take_another;
	send_self(HIGH);
	CHECK(comes(&interrupts[LOW], 1));
	EQUAL(permission, 0);
}

static void end_both(u8 vector)
{
	tap_count_interrupt();
	if (vector == LOW) {
		send_self(HIGH);
		comes(&interrupts[HIGH], 1);
		return;
	}
	ended_first = end_by_call(); /* the higher one */
	highest_after = in_isr(HIGH) << 1 | in_isr(LOW);
	ended_second = end_by_call();
}

static void highest_ends_first(void)
{
	on_interrupt = end_both;
	send_self(LOW);
	CHECK(comes(&interrupts[LOW], 1));
	EQUAL(interrupts[HIGH], 1);
	EQUAL(ended_first, SVSM_SUCCESS);
	EQUAL(highest_after, 1);
	EQUAL(ended_second, SVSM_SUCCESS);
	EQUAL(in_service(), 0);
}

static const struct point points[] = {
	{ "eoi/nothing-in-service", NEED_PROTOCOL, .run = nothing_in_service },
	{ "eoi/by-call", NEED_PROTOCOL, .run = by_call },
	{ "eoi/without-a-call-where-permitted", NEED_PROTOCOL, .run = without_call },
	{ "eoi/outer-interrupt-stays-in-service", NEED_PROTOCOL, .run = outer_stays },
	{ "eoi/highest-ends-first", NEED_PROTOCOL, .run = highest_ends_first },
	{ "eoi/not-permitted-with-another-pending", NEED_PROTOCOL, .run = not_with_another_pending },
	{ "eoi/permission-ends-when-another-comes", NEED_PROTOCOL, .run = withdrawn },
};

GROUP(eoi_group, points, svsm_apic_prepare);
