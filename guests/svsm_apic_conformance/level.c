/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A device's interrupts through the I/O APIC. The SVSM ends level-triggered ones at the hypervisor (COCONUT
 * kernel/src/cpu/apic.rs, consume_host_interrupts, perform_host_eoi; APM vol. 2, 16.6.5).
 */
#include "groups.h"
#include "hpet.h"
#include "platform.h"
#include "start.h"
#include "svsm_apic.h"
#include "trap.h"

#define VECTOR 0x51
#define HIGH   0xA1

static struct {
	bool isr, tmr, remote_irr;
	u8 no_eoi_required;
} seen;

static void interrupt(u32 flags)
{
	allow(VECTOR);
	hpet_route(VECTOR | (flags & HPET_LEVEL ? IOAPIC_ENTRY_LEVEL : 0));
	hpet_after_1_ms(flags | HPET_ENABLE);
}

static void look(u8 vector)
{
	seen.no_eoi_required = calling_area()[SVSM_CAA_NO_EOI_REQUIRED];
	seen.isr = in_isr(vector);
	seen.tmr = in_tmr(vector);
	seen.remote_irr = hpet_remote_irr();
}

static void look_serve_and_end(u8 vector)
{
	look(vector);
	hpet_served();
	end_interrupt(vector);
}

static void edge(void)
{
	on_interrupt = look_serve_and_end;
	interrupt(0);
	CHECK(comes(&interrupts[VECTOR], 1));
	let_pass();
	EQUAL(interrupts[VECTOR], 1);
	EQUAL(seen.isr, 1);
	EQUAL(seen.tmr, 0);
}

static void level(void)
{
	on_interrupt = look_serve_and_end;
	interrupt(HPET_LEVEL);
	CHECK(comes(&interrupts[VECTOR], 1));
	let_pass();
	EQUAL(interrupts[VECTOR], 1);
	EQUAL(seen.isr, 1);
	EQUAL(seen.tmr, 1);
	EQUAL(seen.remote_irr, 1);
	EQUAL(seen.no_eoi_required, 0);
	EQUAL(hpet_remote_irr(), 0);
	EQUAL(in_tmr(VECTOR), 0);
}

static void serve_third(u8 vector)
{
	if (interrupts[vector] == 3)
		hpet_served();
	end_interrupt(vector);
}

static void again_until_served(void)
{
	on_interrupt = serve_third;
	interrupt(HPET_LEVEL);
	CHECK(comes(&interrupts[VECTOR], 3));
	let_pass();
	EQUAL(interrupts[VECTOR], 3);
	EQUAL(hpet_remote_irr(), 0);
}

static bool remote_irr_after_high;

static void nest_higher(u8 vector)
{
	if (vector == VECTOR) {
		send_self(HIGH);
		comes(&interrupts[HIGH], 1);
		remote_irr_after_high = hpet_remote_irr();
		hpet_served();
	}
	end_interrupt(vector);
}

/* The end of a higher interrupt does not end this one. */
static void ends_in_order(void)
{
	on_interrupt = nest_higher;
	interrupt(HPET_LEVEL);
	CHECK(comes(&interrupts[VECTOR], 1));
	EQUAL(interrupts[HIGH], 1);
	EQUAL(remote_irr_after_high, 1);
	EQUAL(hpet_remote_irr(), 0);
	let_pass();
	EQUAL(interrupts[VECTOR], 1);
}

/* The same vector is edge-triggered afterwards. */
static void edge_after_level(void)
{
	on_interrupt = look_serve_and_end;
	interrupt(HPET_LEVEL);
	CHECK(comes(&interrupts[VECTOR], 1));
	hpet_off();
	send_self(VECTOR);
	CHECK(comes(&interrupts[VECTOR], 2));
	EQUAL(seen.tmr, 0);
	EQUAL(in_service(), 0);
}

static const struct point points[] = {
	{ "device/edge", NEED_PROTOCOL | NEED_HPET, .run = edge },
	{ "device/level", NEED_PROTOCOL | NEED_HPET, .run = level },
	{ "device/level-again-until-served", NEED_PROTOCOL | NEED_HPET, .run = again_until_served },
	{ "device/level-ends-in-order", NEED_PROTOCOL | NEED_HPET, .run = ends_in_order },
	{ "device/edge-after-level", NEED_PROTOCOL | NEED_HPET, .run = edge_after_level },
};

GROUP(level_group, points, svsm_apic_prepare);
