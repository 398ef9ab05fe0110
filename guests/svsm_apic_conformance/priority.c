/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Task priority and the order of interrupts (APM vol. 2, 16.6.3-16.6.4; COCONUT kernel/src/cpu/apic.rs). */
#include "groups.h"
#include "cpu.h"
#include "platform.h"
#include "svsm_apic.h"
#include "trap.h"

#define LOW    0x55
#define SAME   0x5A /* of LOW's class */
#define MIDDLE 0x71
#define HIGH   0xA1

enum by { BY_PROTOCOL, BY_CR8 };

static void set_tpr(enum by by, u64 priority)
{
	if (by == BY_CR8)
		write_cr8(priority);
	else
		write_register(X2(APIC_TPR), priority << 4);
}

/* A TPR of the vector's own class blocks it; the class below admits it at once. */
static void tpr_holds_back(u64 by)
{
	set_tpr((enum by)by, LOW >> 4);
	send_self(LOW);
	send_self(MIDDLE);
	CHECK(comes(&interrupts[MIDDLE], 1));
	let_pass();
	EQUAL(interrupts[LOW], 0);
	EQUAL(in_irr(LOW), 1);
	EQUAL(in_isr(LOW), 0);
	set_tpr((enum by)by, (LOW >> 4) - 1);
	CHECK(comes(&interrupts[LOW], 1));
	let_pass();
	EQUAL(interrupts[LOW], 1);
	EQUAL(interrupts[MIDDLE], 1);
}

/* With interrupts on, without a call of the SVSM between the write and the interrupt. */
static void cr8_lets_in_at_once(void)
{
	u64 before, after;

	write_cr8(0xF);
	send_self(LOW);
	sti();
	before = interrupts[LOW];
	write_cr8(0);
	__asm__ volatile("nop; nop");
	after = interrupts[LOW];
	cli();
	EQUAL(before, 0);
	EQUAL(after, 1);
}

/* The interrupt is pending first, then the priority rises above it. */
static void cr8_raised_later(void)
{
	send_self(LOW);
	write_cr8(LOW >> 4);
	let_pass();
	EQUAL(interrupts[LOW], 0);
	write_cr8((LOW >> 4) - 1);
	CHECK(comes(&interrupts[LOW], 1));
	write_cr8(0);
}

static u8 order[8];
static u32 ordered;

static void note_order(u8 vector)
{
	if (ordered < sizeof(order))
		order[ordered++] = vector;
	end_interrupt(vector);
}

static void expect_order(u8 first, u8 second, u8 third)
{
	CHECK(comes(&interrupts[third], 1));
	EQUAL(ordered, 3);
	EQUAL(order[0], first);
	EQUAL(order[1], second);
	EQUAL(order[2], third);
}

static void highest_first(void)
{
	on_interrupt = note_order;
	ordered = 0;
	send_self(LOW);
	send_self(HIGH);
	send_self(MIDDLE);
	expect_order(HIGH, MIDDLE, LOW);
}

/* A later interrupt with a higher priority goes before one that could not be delivered yet. */
static void later_higher_one_first(void)
{
	on_interrupt = note_order;
	ordered = 0;
	write_cr8(0xF);
	send_self(LOW);
	let_pass();
	send_self(MIDDLE);
	let_pass();
	send_self(HIGH);
	let_pass();
	EQUAL(ordered, 0);
	write_cr8(0);
	expect_order(HIGH, MIDDLE, LOW);
}

/* Of one class, the higher vector first. */
static void order_in_a_class(void)
{
	on_interrupt = note_order;
	ordered = 0;
	send_self(LOW);
	send_self(SAME);
	CHECK(comes(&interrupts[LOW], 1));
	EQUAL(ordered, 2);
	EQUAL(order[0], SAME);
	EQUAL(order[1], LOW);
}

static u8 other;        /* sent in the handler of LOW */
static u64 seen_inside;

/* In the handler of LOW, turns interrupts on for as long as `other` may need. */
static void send_other(u8 vector)
{
	if (vector == LOW) {
		send_self(other);
		if (other == HIGH)
			comes(&interrupts[other], 1);
		else
			let_pass();
		seen_inside = interrupts[other];
	}
	end_interrupt(vector);
}

static void nested(u8 vector, bool inside)
{
	other = vector;
	seen_inside = ~0ull;
	on_interrupt = send_other;
	send_self(LOW);
	CHECK(comes(&interrupts[LOW], 1));
	EQUAL(seen_inside, inside);
	CHECK(comes(&interrupts[other], 1));
	let_pass();
	EQUAL(interrupts[other], 1);
	EQUAL(interrupts[LOW], 1);
	EQUAL(in_service(), 0);
}

static void higher_class_nests(void)
{
	nested(HIGH, true);
}

static void same_class_waits(void)
{
	nested(SAME, false);
}

static void lower_class_waits(void)
{
	nested(0x41, false);
}

static void tpr_of_f_holds_all(void)
{
	write_register(X2(APIC_TPR), 0xF0);
	send_self(0xFF);
	let_pass();
	EQUAL(interrupts[0xFF], 0);
	write_register(X2(APIC_TPR), 0xE0);
	CHECK(comes(&interrupts[0xFF], 1));
}

static const struct point points[] = {
	{ "priority/tpr-holds-back-and-lets-in", NEED_PROTOCOL, .run_with = tpr_holds_back, BY_PROTOCOL },
	{ "priority/cr8-holds-back-and-lets-in", NEED_PROTOCOL, .run_with = tpr_holds_back, BY_CR8 },
	{ "priority/cr8-lets-in-at-once", NEED_PROTOCOL, .run = cr8_lets_in_at_once },
	{ "priority/cr8-raised-after-the-interrupt", NEED_PROTOCOL, .run = cr8_raised_later },
	{ "priority/tpr-f0-holds-everything", NEED_PROTOCOL, .run = tpr_of_f_holds_all },
	{ "priority/highest-first", NEED_PROTOCOL, .run = highest_first },
	{ "priority/later-higher-one-first", NEED_PROTOCOL, .run = later_higher_one_first },
	{ "priority/order-in-a-class", NEED_PROTOCOL, .run = order_in_a_class },
	{ "priority/higher-class-nests", NEED_PROTOCOL, .run = higher_class_nests },
	{ "priority/same-class-waits", NEED_PROTOCOL, .run = same_class_waits },
	{ "priority/lower-class-waits", NEED_PROTOCOL, .run = lower_class_waits },
};

GROUP(priority_group, points, svsm_apic_prepare);
