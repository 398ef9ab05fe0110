/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "timer.h"
#include "apic_access.h"
#include "clock.h"
#include "cpu.h"
#include "io.h"
#include "platform.h"
#include "svsm_apic.h"

#define UNDIVIDED   0xBu /* divide configuration 1 (APM vol. 2, 16.4.1) */
#define MEASURE_US  20000
#define LOOK_US     200u /* short enough for one reading of the count */
#define LOOKS       4
#define COUNT_MAX   0xFFFFFFFFu
#define TIMER_SOURCES 3

static u64 counts_per_ms[TIMER_SOURCES];

bool hypervisor_apic_ready(void)
{
	return platform.x2apic && apic_set_mode(MODE_BITS) && msr_out(X2(APIC_SPIV), APIC_SPIV_ENABLE | APIC_SPIV_VECTOR);
}

static bool set(enum timer_source source, u32 lvt, u32 count)
{
	switch (source) {
	case TIMER_MSR:
		return hypervisor_apic_ready() && msr_out(X2(APIC_TIMER_DIVIDE), UNDIVIDED) &&
		       msr_out(X2(APIC_LVT_TIMER), lvt) && msr_out(X2(APIC_TIMER_INITIAL), count);
	case TIMER_EVENT:
		return nae(NAE_HV_TIMER, (u64)UNDIVIDED << NAE_TIMER_DIVIDE_SHIFT | lvt, count) == NAE_RESULT_OK;
	default:
		return write_register(X2(APIC_TIMER_DIVIDE), UNDIVIDED) == SVSM_SUCCESS &&
		       write_register(X2(APIC_LVT_TIMER), lvt) == SVSM_SUCCESS &&
		       write_register(X2(APIC_TIMER_INITIAL), count) == SVSM_SUCCESS;
	}
}

bool timer_current(enum timer_source source, u32 *count)
{
	struct svsm_reply reply;
	u64 value;

	switch (source) {
	case TIMER_MSR:
		if (!msr_in(X2(APIC_TIMER_CURRENT), &value))
			return false;
		*count = (u32)value;
		return true;
	case TIMER_EVENT: /* the event returns it when the timer is set; this stops the timer */
		if (nae(NAE_HV_TIMER, (u64)UNDIVIDED << NAE_TIMER_DIVIDE_SHIFT | APIC_LVT_MASKED, 0) != NAE_RESULT_OK)
			return false;
		*count = (u32)nae_info2();
		return true;
	default:
		reply = apic_call(SVSM_APIC_READ_REGISTER, X2(APIC_TIMER_CURRENT), 0);
		*count = (u32)reply.rdx;
		return reply.rax == SVSM_SUCCESS;
	}
}

bool timer_look(enum timer_source source, struct timer_look *look)
{
	look->width = ~0ull;
	/* The count was read between two readings of the TSC: the shortest of several is the most accurate. */
	for (u32 tries = 0; tries < LOOKS && look->width > clock_ticks(LOOK_US); tries++) {
		u64 before = rdtsc(), width;
		u32 count;

		if (!timer_current(source, &count))
			return false;
		width = rdtsc() - before;
		if (width < look->width)
			*look = (struct timer_look){ .count = count, .tsc = before + width / 2, .width = width };
	}
	return true;
}

/* The event sets the timer of the MSRs. Without these MSRs its count can be read once, when it stops. */
static u64 measure(enum timer_source source)
{
	struct timer_look first = { .count = COUNT_MAX, .tsc = rdtsc() }, last = first;
	u64 ticks;

	if (!set(source, APIC_LVT_MASKED, COUNT_MAX) || (source != TIMER_EVENT && !timer_look(source, &first)))
		return 0;
	delay_us(MEASURE_US);
	if (source == TIMER_EVENT ? !timer_current(source, &last.count) : !timer_look(source, &last))
		return 0;
	if (source == TIMER_EVENT)
		last.tsc = rdtsc();
	set(source, APIC_LVT_MASKED, 0);
	ticks = last.tsc - first.tsc;
	return ticks ? (first.count - last.count) * clock_ticks(1000) / ticks : 0;
}

u64 timer_counts(enum timer_source source, u64 us)
{
	if (source == TIMER_EVENT && platform.x2apic)
		source = TIMER_MSR;
	if (!counts_per_ms[source])
		counts_per_ms[source] = measure(source);
	return counts_per_ms[source] * us / 1000;
}

bool timer_start(enum timer_source source, u8 vector, u32 mode, u64 us)
{
	u64 count = timer_counts(source, us);

	return count && count <= COUNT_MAX && set(source, mode | vector, (u32)count);
}

void timer_stop(void)
{
	if (platform.apic_features & SVSM_APIC_FEATURE_TIMER)
		set(TIMER_SVSM, APIC_LVT_MASKED, 0);
	if (apic_is_x2()) {
		msr_out(X2(APIC_LVT_TIMER), APIC_LVT_MASKED);
		msr_out(X2(APIC_TIMER_INITIAL), 0);
	}
}
