/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The virtual local APIC's timer (APM 16.4.1, SDM 11.5.4). The bus clock is 1 GHz, so counts are ns / divider. */
#include "vapic_internal.h"

/* KVM's module parameter min_timer_period_us, at its default: a shorter periodic timer is slowed down to it. */
#define MIN_PERIOD_NS 200000ull

static u32 timer_mode(const struct vapic *apic)
{
	return apic->lvt[LVT_TIMER] & APIC_LVT_TIMER_MODE;
}

static u32 divider(const struct vapic *apic)
{
	u32 code = (apic->timer_divide & 3) | ((apic->timer_divide & 8) >> 1);

	return 1u << ((code + 1) & 7);
}

static void set_period(struct vapic *apic)
{
	apic->timer_period_ns = (u64)apic->timer_initial * divider(apic);
	if (timer_mode(apic) == APIC_TIMER_PERIODIC && apic->timer_period_ns && apic->timer_period_ns < MIN_PERIOD_NS)
		apic->timer_period_ns = MIN_PERIOD_NS;
}

/* Time to the next expiry, at most one period; a periodic timer continues even if it was not run for long. */
static u64 remaining_ns(const struct vapic *apic, u64 now_ns)
{
	u64 period = apic->timer_period_ns;
	u64 expires = apic->timer_expires_ns;

	if (expires == VAPIC_NEVER || !period)
		return 0;
	if (now_ns < expires)
		return expires - now_ns < period ? expires - now_ns : period;
	if (timer_mode(apic) == APIC_TIMER_PERIODIC)
		return period - (now_ns - expires) % period;
	return 0;
}

u32 vapic_timer_current(const struct vapic *apic, u64 now_ns)
{
	return (u32)(remaining_ns(apic, now_ns) / divider(apic));
}

void vapic_timer_set_initial(struct vapic *apic, u32 value, u64 now_ns)
{
	if (timer_mode(apic) == APIC_TIMER_TSC_DEADLINE)
		return;
	apic->timer_by_event = false;
	apic->timer_initial = value;
	apic->timer_expires_ns = VAPIC_NEVER;
	if (timer_mode(apic) == APIC_TIMER_RESERVED) /* as KVM, __start_apic_timer */
		return;
	set_period(apic);
	if (apic->timer_period_ns)
		apic->timer_expires_ns = now_ns + apic->timer_period_ns;
}

/* A running count continues from its value, at the new rate. */
void vapic_timer_set_divide(struct vapic *apic, u32 value, u64 now_ns)
{
	u64 remaining = remaining_ns(apic, now_ns);
	u32 old = divider(apic);

	apic->timer_divide = value & APIC_DIVIDE_MASK;
	if (divider(apic) == old || !apic->timer_period_ns)
		return;
	set_period(apic);
	if (apic->timer_expires_ns != VAPIC_NEVER)
		apic->timer_expires_ns = now_ns + remaining * divider(apic) / old;
}

/* Into and out of TSC-deadline mode the timer is disarmed; between the other two it continues (SDM 11.5.4.1). */
void vapic_timer_set_lvt(struct vapic *apic, u32 lvt)
{
	u32 old = timer_mode(apic);

	apic->lvt[LVT_TIMER] = lvt;
	if (timer_mode(apic) == old)
		return;
	if (timer_mode(apic) == APIC_TIMER_TSC_DEADLINE || old == APIC_TIMER_TSC_DEADLINE) {
		apic->timer_initial = 0;
		apic->timer_expires_ns = VAPIC_NEVER;
		apic->tsc_deadline = 0;
	}
	set_period(apic);
}

u32 vapic_timer_set_by_event(struct vapic *apic, u32 lvt, u32 divide, u32 initial, u64 now_ns)
{
	u32 current = vapic_timer_current(apic, now_ns);

	apic->lvt[LVT_TIMER] = lvt & (APIC_LVT_VECTOR | APIC_LVT_MASKED | APIC_TIMER_PERIODIC); /* no TSC deadline */
	apic->timer_divide = divide & APIC_DIVIDE_MASK;
	vapic_timer_set_initial(apic, initial, now_ns);
	apic->timer_by_event = true;
	return current;
}

bool vapic_timer_run(struct vapic *apic, u64 now_ns)
{
	u64 expires = apic->timer_expires_ns;
	u64 period = apic->timer_period_ns;

	if (expires == VAPIC_NEVER || now_ns < expires)
		return false;
	if (timer_mode(apic) == APIC_TIMER_PERIODIC && period) {
		apic->timer_expires_ns = expires + ((now_ns - expires) / period + 1) * period;
	} else {
		apic->timer_expires_ns = VAPIC_NEVER;
		apic->tsc_deadline = 0;
	}
	if (apic->lvt[LVT_TIMER] & APIC_LVT_MASKED)
		return false;
	if (apic->timer_by_event) {
		vapic_request(apic, apic->lvt[LVT_TIMER] & APIC_LVT_VECTOR, false);
		return true;
	}
	return vapic_post(apic, apic->lvt[LVT_TIMER] & APIC_LVT_VECTOR, false);
}

u64 vapic_timer_deadline(const struct vapic *apic)
{
	return apic->timer_expires_ns;
}

u64 vapic_tsc_deadline(const struct vapic *apic)
{
	if (!vapic_is_enabled(apic) || timer_mode(apic) != APIC_TIMER_TSC_DEADLINE)
		return 0;
	return apic->tsc_deadline;
}

void vapic_set_tsc_deadline(struct vapic *apic, u64 tsc, u64 deadline_ns)
{
	if (!vapic_is_enabled(apic) || timer_mode(apic) != APIC_TIMER_TSC_DEADLINE)
		return;
	apic->tsc_deadline = tsc;
	apic->timer_expires_ns = tsc ? deadline_ns : VAPIC_NEVER;
}

u8 vapic_timer_vector(const struct vapic *apic)
{
	return apic->lvt[LVT_TIMER] & APIC_LVT_VECTOR;
}
