/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Many ticks of a periodic timer: each must arrive once. The timer's current count shows how long ago it was reloaded:
 * two interrupts after one reload are a doubled tick, a reload without an interrupt is a missed one.
 */
#include "modes.h"
#include "apic_access.h"
#include "clock.h"
#include "cpu.h"
#include "io.h"
#include "parameters.h"
#include "platform.h"
#include "serial.h"
#include "svsm_apic.h"
#include "tap.h"
#include "timer.h"
#include "trap.h"

#define VECTOR      0x51
#define LIMIT       20      /* times the duration of the ticks, and one second more */
#define LONGEST_US  100000  /* the longest time that one reading counts: a suspended machine has no ticks */
#define CHECK_EVERY 16      /* ticks: reading ISR needs a call of the SVSM, which changes how ticks end */

static struct {
	enum timer_source source;
	u64 period;           /* in TSC ticks */
	u64 counts;           /* of the timer */
	u64 taken, doubled, missed, spurious, not_in_service, lazy, unsure;
	u64 before;           /* reloads between the last two ticks */
	u64 first, last;      /* TSC of the reload before the first and the last tick */
	u64 wanted;
} run;

static volatile u64 done;

static void stop(void)
{
	timer_stop();
	done = 1;
}

/* The TSC of the timer's last reload; the expected one if the reading was interrupted. */
static u64 reloaded(void)
{
	struct timer_look look;

	if (timer_look(run.source, &look) && look.width < run.period / 4)
		return look.tsc - (run.counts - look.count) * run.period / run.counts;
	run.unsure++;
	return run.last + run.period;
}

static void end_tick(u8 vector)
{
	if (!platform.apic_protocol)
		msr_out(X2(APIC_EOI), 0);
	else if (run.taken % CHECK_EVERY == 0 && !in_isr(vector))
		run.not_in_service++; /* it is ended nevertheless */
	if (platform.apic_protocol) {
		if (end_lazily())
			run.lazy++;
		else
			end_by_call();
	}
}

/*
 * One reload since the last tick is expected. None after two, or two after none, means that one of two ticks was read
 * on the wrong side of a reload: a late tick, not a missed and a doubled one.
 */
static void count_periods(u64 periods)
{
	if (periods == 1) {
		run.before = 1;
	} else if ((!periods && run.before == 2) || (periods == 2 && !run.before)) {
		*(periods ? &run.doubled : &run.missed) -= 1;
		run.before = 1;
	} else {
		if (periods)
			run.missed += periods - 1;
		else
			run.doubled++;
		run.before = periods;
	}
}

static void tick(u8 vector)
{
	u64 reload, periods;

	if (vector != VECTOR || done) {
		run.spurious += vector != VECTOR; /* not one that was already pending when the timer stopped */
		end_tick(vector);
		return;
	}
	reload = reloaded();
	periods = (reload - run.last + run.period / 2) / run.period;
	if (!run.taken++) {
		run.first = reload;
	} else {
		count_periods(periods);
	}
	run.last = reload;
	end_tick(vector);
	if (run.taken >= run.wanted)
		stop();
}

/* Keeps the platform busy: exits to the hypervisor and calls of the SVSM. */
static void load(void)
{
	u64 value;

	msr_in(MSR_APIC_BASE, &value);
	io_in(0x80, 1);
	mmio_in(APIC_DEFAULT_BASE, 4);
	if (platform.svsm) {
		query_protocol(SVSM_PROTOCOL_APIC, SVSM_APIC_VERSION_MIN);
		read_register(X2(APIC_ID));
	}
}

static const char *source_name(void)
{
	switch (run.source) {
	case TIMER_EVENT: return "hv-timer";
	case TIMER_SVSM: return "svsm";
	default: return "hypervisor-msr";
	}
}

static void print_result(void)
{
	print("# ticks source=");
	print(source_name());
	tap_number("taken", run.taken);
	tap_number("doubled", run.doubled);
	tap_number("missed", run.missed);
	tap_number("spurious", run.spurious);
	tap_number("not_in_service", run.not_in_service);
	tap_number("lazy", run.lazy);
	tap_number("unsure", run.unsure);
	tap_number("period_ns", clock_ns(run.period));
	tap_number("elapsed_ns", clock_ns(run.last - run.first));
	print("\n");
}

static bool start(void)
{
	u64 us = parameters()->period_us;

	run.before = 1;
	run.wanted = parameters()->ticks;
	run.period = clock_ticks(us);
	run.source = platform.apic_features & SVSM_APIC_FEATURE_TIMER ? TIMER_SVSM : TIMER_MSR;
	run.counts = timer_counts(run.source, us);
	if (!run.wanted || !run.period || !run.counts)
		return false;
	if (platform.apic_protocol) {
		svsm_apic_prepare();
		allow(VECTOR);
	} else {
		apic_prepare(MODE_BITS);
	}
	on_interrupt = tick;
	return timer_start(run.source, VECTOR, APIC_TIMER_PERIODIC, us);
}

void run_ticks(void)
{
	const char *missing = platform_lacks(NEED_X2APIC);
	struct stopwatch watch;
	u64 limit;

	tap_begin(3);
	platform_print();
	if (!missing && !start())
		missing = "the timer does not start";
	watch = stopwatch_start(LONGEST_US);
	limit = run.wanted * run.period * LIMIT + clock_ticks(1000000);
	if (!missing) {
		sti();
		while (!done && stopwatch_passed(&watch) < limit) {
			if (parameters()->load)
				load();
			else
				pause();
		}
		timer_stop();
		let_pass();
	}
	cli();
	print_result();
	tap_result("ticks/all-taken", missing || run.taken == run.wanted, missing);
	tap_result("ticks/none-missed-beyond-what-is-allowed", missing || run.missed <= parameters()->missed_allowed, missing);
	tap_result("ticks/none-doubled-or-spurious", missing || !(run.doubled || run.spurious || run.not_in_service), missing);
	tap_end();
}
