/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The APIC timer under Alternate Injection. COCONUT's SVSM does not serve it: the hypervisor does by its x2APIC MSRs,
 * and its interrupts arrive through the SVSM. If offered, the #HV timer event and a timer of the SVSM are tested too.
 */
#include "groups.h"
#include "apic_access.h"
#include "clock.h"
#include "cpu.h"
#include "halt.h"
#include "io.h"
#include "platform.h"
#include "svsm_apic.h"
#include "timer.h"
#include "trap.h"

#define VECTOR  0x51
#define US      1000
#define LONG_US 50000
#define TICKS   20

static void start(u64 source, u32 mode)
{
	allow(VECTOR);
	CHECK(timer_start((enum timer_source)source, VECTOR, mode, US));
}

static void refused_in_xapic_mode(void)
{
	static const u32 registers[] = { APIC_SPIV, APIC_LVT_TIMER, APIC_TIMER_INITIAL, APIC_TIMER_CURRENT,
					 APIC_TIMER_DIVIDE };
	u64 value;

	CHECK(apic_set_mode(0) && apic_set_mode(APIC_BASE_EN));
	for (u32 i = 0; i < sizeof(registers) / sizeof(registers[0]); i++) {
		EQUAL_OF(X2(registers[i]), msr_in(X2(registers[i]), &value), false);
		EQUAL_OF(X2(registers[i]), nae_info2(), NAE_EVENTINJ_GP);
		EQUAL_OF(X2(registers[i]), msr_out(X2(registers[i]), APIC_LVT_MASKED), false);
		EQUAL_OF(X2(registers[i]), nae_info2(), NAE_EVENTINJ_GP);
	}
}

static void served_in_x2apic_mode(void)
{
	u64 lvt = 0, divide = 0, initial = 0, current = 0;

	CHECK(hypervisor_apic_ready());
	CHECK(msr_out(X2(APIC_TIMER_DIVIDE), APIC_DIVIDE_MASK));
	CHECK(msr_out(X2(APIC_LVT_TIMER), APIC_LVT_MASKED | VECTOR));
	CHECK(msr_out(X2(APIC_TIMER_INITIAL), 0x7FFFFFFF));
	CHECK(msr_in(X2(APIC_TIMER_DIVIDE), &divide) && msr_in(X2(APIC_LVT_TIMER), &lvt));
	CHECK(msr_in(X2(APIC_TIMER_INITIAL), &initial) && msr_in(X2(APIC_TIMER_CURRENT), &current));
	EQUAL(divide, APIC_DIVIDE_MASK);
	EQUAL(lvt, APIC_LVT_MASKED | VECTOR);
	EQUAL(initial, 0x7FFFFFFF);
	CHECK(current && current < initial);
}

static void svsm_reads_back(void)
{
	EQUAL(write_register(X2(APIC_TIMER_DIVIDE), APIC_DIVIDE_MASK), SVSM_SUCCESS);
	EQUAL(write_register(X2(APIC_LVT_TIMER), APIC_LVT_MASKED | VECTOR), SVSM_SUCCESS);
	EQUAL(write_register(X2(APIC_TIMER_INITIAL), 0x7FFFFFFF), SVSM_SUCCESS);
	EQUAL(read_register(X2(APIC_TIMER_DIVIDE)), APIC_DIVIDE_MASK);
	EQUAL(read_register(X2(APIC_LVT_TIMER)), APIC_LVT_MASKED | VECTOR);
	EQUAL(read_register(X2(APIC_TIMER_INITIAL)), 0x7FFFFFFF);
	CHECK(read_register(X2(APIC_TIMER_CURRENT)) < 0x7FFFFFFF);
	EQUAL(write_register(X2(APIC_TIMER_CURRENT), 0), SVSM_ERR_INVALID_PARAMETER);
}

static void one_shot(u64 source)
{
	start(source, APIC_TIMER_ONE_SHOT);
	CHECK(comes(&interrupts[VECTOR], 1));
	let_pass();
	EQUAL(interrupts[VECTOR], 1);
}

static void counts_down_to_zero(u64 source)
{
	u32 left = ~0u;

	start(source, APIC_TIMER_ONE_SHOT);
	CHECK(comes(&interrupts[VECTOR], 1));
	CHECK(timer_current((enum timer_source)source, &left));
	EQUAL(left, 0);
}

static void periodic(u64 source)
{
	u64 begun, elapsed;

	timer_counts((enum timer_source)source, US);
	begun = rdtsc();
	start(source, APIC_TIMER_PERIODIC);
	CHECK(comes(&interrupts[VECTOR], TICKS));
	elapsed = clock_ns(rdtsc() - begun) / 1000;
	CHECK(elapsed >= (TICKS - 1) * US); /* no tick is early; a busy machine makes some late */
	timer_stop();
	if (source == TIMER_EVENT)
		CHECK(timer_start(TIMER_EVENT, VECTOR, APIC_LVT_MASKED, US));
	let_pass();
	interrupts[VECTOR] = 0;
	let_pass();
	EQUAL(interrupts[VECTOR], 0);
}

static void masked(u64 source)
{
	start(source, APIC_LVT_MASKED | APIC_TIMER_PERIODIC);
	let_pass();
	let_pass();
	EQUAL(interrupts[VECTOR], 0);
	EQUAL(in_irr(VECTOR), 0);
}

static void stopped(void)
{
	allow(VECTOR);
	CHECK(timer_start(TIMER_MSR, VECTOR, APIC_TIMER_ONE_SHOT, LONG_US)); /* it is stopped before */
	timer_stop();
	wait_ms(2 * LONG_US / 1000);
	EQUAL(interrupts[VECTOR], 0);
}

/* Waits with interrupts off until the interrupt is in the SVSM's IRR. */
static bool reaches_irr(void)
{
	while (!in_irr(VECTOR) && !tap_time_is_up())
		pause();
	return in_irr(VECTOR);
}

static void held_by_if(void)
{
	start(TIMER_MSR, APIC_TIMER_ONE_SHOT);
	CHECK(reaches_irr());
	EQUAL(interrupts[VECTOR], 0);
	CHECK(comes(&interrupts[VECTOR], 1));
}

static void held_by_tpr(void)
{
	write_cr8(VECTOR >> 4);
	start(TIMER_MSR, APIC_TIMER_ONE_SHOT);
	let_pass();
	EQUAL(interrupts[VECTOR], 0);
	CHECK(reaches_irr());
	write_cr8((VECTOR >> 4) - 1);
	CHECK(comes(&interrupts[VECTOR], 1));
	write_cr8(0);
}

static void merged(void)
{
	start(TIMER_MSR, APIC_TIMER_PERIODIC);
	delay_us(5 * US);
	timer_stop();
	CHECK(comes(&interrupts[VECTOR], 1));
	let_pass();
	EQUAL(interrupts[VECTOR], 1);
}

static bool came_again;

static void wait_in_handler(u8 vector)
{
	if (interrupts[vector] == 1) {
		timer_start(TIMER_MSR, VECTOR, APIC_TIMER_ONE_SHOT, US);
		came_again = reaches_irr() && in_isr(VECTOR);
	}
	end_interrupt(vector);
}

static void again_while_in_service(void)
{
	came_again = false;
	on_interrupt = wait_in_handler;
	start(TIMER_MSR, APIC_TIMER_ONE_SHOT);
	CHECK(comes(&interrupts[VECTOR], 2));
	let_pass();
	EQUAL(interrupts[VECTOR], 2);
	EQUAL(came_again, true);
}

static void wakes_hlt(void)
{
	if (!CHECK(halt_ready()))
		return;
	for (u64 count = 1; count <= 5; count++) {
		u64 before = interrupts[HALT_VECTOR];

		halt_once();
		EQUAL_OF(count, interrupts[HALT_VECTOR], before + 1);
	}
}

#define BY_MSR   (NEED_PROTOCOL | NEED_X2APIC)
#define BY_EVENT (NEED_PROTOCOL | NEED_HV_TIMER)
#define BY_SVSM  (NEED_PROTOCOL | NEED_SVSM_TIMER)

static const struct point points[] = {
	{ "timer/refused-in-xapic-mode", BY_MSR, .run = refused_in_xapic_mode },
	{ "timer/served-in-x2apic-mode", BY_MSR, .run = served_in_x2apic_mode },
	{ "timer/one-shot", BY_MSR, .run_with = one_shot, TIMER_MSR },
	{ "timer/one-shot-counts-down-to-zero", BY_MSR, .run_with = counts_down_to_zero, TIMER_MSR },
	{ "timer/periodic", BY_MSR, .run_with = periodic, TIMER_MSR },
	{ "timer/masked", BY_MSR, .run_with = masked, TIMER_MSR },
	{ "timer/stopped", BY_MSR, .run = stopped },
	{ "timer/held-by-if", BY_MSR, .run = held_by_if },
	{ "timer/held-by-tpr", BY_MSR, .run = held_by_tpr },
	{ "timer/ticks-merge-while-held", BY_MSR, .run = merged },
	{ "timer/tick-while-in-service", BY_MSR, .run = again_while_in_service },
	{ "timer/wakes-hlt", BY_MSR, .run = wakes_hlt },
	{ "hv-timer/one-shot", BY_EVENT, .run_with = one_shot, TIMER_EVENT },
	{ "hv-timer/periodic", BY_EVENT, .run_with = periodic, TIMER_EVENT },
	{ "hv-timer/masked", BY_EVENT, .run_with = masked, TIMER_EVENT },
	{ "svsm-timer/reads-back", BY_SVSM, .run = svsm_reads_back },
	{ "svsm-timer/one-shot", BY_SVSM, .run_with = one_shot, TIMER_SVSM },
	{ "svsm-timer/one-shot-counts-down-to-zero", BY_SVSM, .run_with = counts_down_to_zero, TIMER_SVSM },
	{ "svsm-timer/periodic", BY_SVSM, .run_with = periodic, TIMER_SVSM },
	{ "svsm-timer/masked", BY_SVSM, .run_with = masked, TIMER_SVSM },
};

GROUP(timer_group, points, svsm_apic_prepare);
