/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "timer.h"
#include "apic_access.h"
#include "clock.h"
#include "io.h"
#include "platform.h"
#include "svsm_apic.h"

#define UNDIVIDED   0xBu /* divide configuration 1 (APM vol. 2, 16.4.1) */
#define MEASURE_US  5000
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
	case TIMER_EVENT: /* the event tells it when it is set anew: here it stops */
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

u64 timer_counts(enum timer_source source, u64 us)
{
	u32 left;

	if (!counts_per_ms[source] && set(source, APIC_LVT_MASKED, COUNT_MAX)) {
		delay_us(MEASURE_US);
		if (timer_current(source, &left))
			counts_per_ms[source] = (COUNT_MAX - left) / (MEASURE_US / 1000);
		set(source, APIC_LVT_MASKED, 0);
	}
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
