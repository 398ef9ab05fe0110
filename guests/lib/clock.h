/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Time by the TSC, whose rate is measured with the PIT. */
#ifndef GUEST_CLOCK_H
#define GUEST_CLOCK_H

#include "types.h"

void clock_setup(void);
u64 clock_ns(u64 ticks);   /* nanoseconds of a difference of the TSC */
u64 clock_ticks(u64 us);   /* TSC ticks of microseconds */

/*
 * Time in which this code runs. When a machine stands still, or runs something else, the TSC goes on though nothing can
 * arrive: what is waited for would be late by no fault of its own. So what is between two looks counts up to `longest`.
 */
struct stopwatch {
	u64 last, passed, longest; /* TSC ticks */
};
struct stopwatch stopwatch_start(u64 longest_us);
u64 stopwatch_passed(struct stopwatch *watch); /* TSC ticks so far */

/* At least so long, by a stopwatch. */
void delay_us(u64 us);
/* Wait with interrupts on until `*counter` is `target`, or so many milliseconds by a stopwatch; true when it came. */
bool wait_until(volatile u64 *counter, u64 target, u64 ms);

#endif
