/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Time by the TSC. Its rate is measured with the PIT. */
#ifndef GUEST_CLOCK_H
#define GUEST_CLOCK_H

#include "types.h"

void clock_setup(void);
u64 clock_ns(u64 ticks); /* TSC ticks in nanoseconds */
u64 clock_ticks(u64 us); /* microseconds in TSC ticks */

/*
 * The time in which this code runs. While a machine is suspended or runs something else, the TSC goes on although
 * nothing can arrive. A timeout by the TSC alone would then end too early. A stopwatch therefore counts at most
 * `longest` of the time between two readings.
 */
struct stopwatch {
	u64 last, passed, longest; /* TSC ticks */
};
struct stopwatch stopwatch_start(u64 longest_us);
u64 stopwatch_passed(struct stopwatch *watch); /* TSC ticks so far */

/* These wait by a stopwatch. */
void delay_us(u64 us); /* at least `us`; interrupts stay as they are */
void wait_ms(u64 ms);  /* with interrupts on, and off afterwards */
/* Waits with interrupts on, at most `ms`, until `*counter` reaches `target`. Returns whether it did. */
bool wait_until(volatile u64 *counter, u64 target, u64 ms);

#endif
