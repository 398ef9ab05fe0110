/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The set of vectors that the hypervisor may raise (COCONUT kernel/src/protocols/apic.rs, apic_configure_vector;
 * cpu/apic.rs, configure_vector, configure_all_vectors). The hypervisor's timer raises them.
 */
#include "groups.h"
#include "platform.h"
#include "svsm_apic.h"
#include "timer.h"
#include "trap.h"

#define VECTOR    0x51
#define OTHER     0x52
#define PERIOD_US 500
#define LOWEST    31   /* of "all vectors", and of the doorbell page */
#define TOO_LOW   22   /* a reserved exception vector */

static void ticks(u8 vector) { CHECK(timer_start(TIMER_MSR, vector, APIC_TIMER_PERIODIC, PERIOD_US)); }

static void none_comes(u8 vector)
{
	u64 before = interrupts[vector];

	let_pass();
	let_pass();
	EQUAL(interrupts[vector], before);
}

static void results(void)
{
	for (u64 vector = LOWEST; vector < 256; vector++) {
		EQUAL_OF(vector, configure_vector(vector | SVSM_APIC_VECTOR_ENABLE), SVSM_SUCCESS);
		EQUAL_OF(vector, configure_vector(vector), SVSM_SUCCESS);
	}
	EQUAL(configure_vector(SVSM_APIC_VECTOR_ALL | SVSM_APIC_VECTOR_ENABLE), SVSM_SUCCESS);
	EQUAL(configure_vector(SVSM_APIC_VECTOR_ALL), SVSM_SUCCESS);
}

static void bad_values(void)
{
	for (u32 bit = 10; bit < 64; bit++)
		EQUAL_OF(bit, configure_vector(BIT(bit) | SVSM_APIC_VECTOR_ENABLE | VECTOR), SVSM_ERR_INVALID_PARAMETER);
	ticks(VECTOR);
	none_comes(VECTOR);
}

static void not_allowed(void)
{
	allow(OTHER);
	ticks(VECTOR);
	none_comes(VECTOR);
	EQUAL(in_irr(VECTOR), 0);
	EQUAL(in_isr(VECTOR), 0);
}

static void allowed(void)
{
	ticks(VECTOR);
	none_comes(VECTOR);
	allow(VECTOR);
	CHECK(comes(&interrupts[VECTOR], 3));
}

static void no_longer_allowed(void)
{
	allow(VECTOR);
	ticks(VECTOR);
	CHECK(comes(&interrupts[VECTOR], 3));
	EQUAL(configure_vector(VECTOR), SVSM_SUCCESS);
	let_pass(); /* an interrupt that was admitted before may still be pending */
	none_comes(VECTOR);
	allow(VECTOR);
	CHECK(comes(&interrupts[VECTOR], interrupts[VECTOR] + 3));
}

static void all(void)
{
	configure_vector(SVSM_APIC_VECTOR_ALL | SVSM_APIC_VECTOR_ENABLE);
	ticks(VECTOR);
	CHECK(comes(&interrupts[VECTOR], 3));
	ticks(0xFF);
	CHECK(comes(&interrupts[0xFF], 3));
	EQUAL(configure_vector(SVSM_APIC_VECTOR_ALL), SVSM_SUCCESS);
	let_pass();
	none_comes(0xFF);
}

static void lowest(void)
{
	trap_as_interrupt(LOWEST, true);
	configure_vector(SVSM_APIC_VECTOR_ALL | SVSM_APIC_VECTOR_ENABLE);
	ticks(LOWEST);
	CHECK(comes(&interrupts[LOWEST], 3));
	timer_stop();
	let_pass();
	trap_as_interrupt(LOWEST, false);
}

static void below_the_lowest(void)
{
	trap_as_interrupt(TOO_LOW, true);
	configure_vector(SVSM_APIC_VECTOR_ALL | SVSM_APIC_VECTOR_ENABLE);
	ticks(TOO_LOW);
	none_comes(TOO_LOW);
	trap_as_interrupt(TOO_LOW, false);
}

/* Bits 7:0 have no meaning beside "all". */
static void all_ignores_the_vector(void)
{
	EQUAL(configure_vector(SVSM_APIC_VECTOR_ALL | SVSM_APIC_VECTOR_ENABLE | OTHER), SVSM_SUCCESS);
	ticks(VECTOR);
	CHECK(comes(&interrupts[VECTOR], 3));
	EQUAL(configure_vector(SVSM_APIC_VECTOR_ALL | OTHER), SVSM_SUCCESS);
	let_pass();
	none_comes(VECTOR);
}

static const struct point points[] = {
	{ "vectors/results", NEED_PROTOCOL, .run = results },
	{ "vectors/bad-values-refused", NEED_PROTOCOL | NEED_X2APIC, .run = bad_values },
	{ "vectors/not-allowed-is-not-delivered", NEED_PROTOCOL | NEED_X2APIC, .run = not_allowed },
	{ "vectors/allowed-is-delivered", NEED_PROTOCOL | NEED_X2APIC, .run = allowed },
	{ "vectors/no-longer-allowed", NEED_PROTOCOL | NEED_X2APIC, .run = no_longer_allowed },
	{ "vectors/all", NEED_PROTOCOL | NEED_X2APIC, .run = all },
	{ "vectors/all-ignores-the-vector", NEED_PROTOCOL | NEED_X2APIC, .run = all_ignores_the_vector },
	{ "vectors/all-includes-31", NEED_PROTOCOL | NEED_X2APIC, .run = lowest },
	{ "vectors/all-leaves-out-what-is-below-31", NEED_PROTOCOL | NEED_X2APIC, .run = below_the_lowest },
};

GROUP(vectors_group, points, svsm_apic_prepare);
