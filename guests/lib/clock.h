/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Time by the TSC, whose rate is measured with the PIT. */
#ifndef GUEST_CLOCK_H
#define GUEST_CLOCK_H

#include "types.h"

void clock_setup(void);
u64 clock_ns(u64 ticks);   /* nanoseconds of a difference of the TSC */
u64 clock_ticks(u64 us);   /* TSC ticks of microseconds */
void delay_us(u64 us);
/* Wait with interrupts on until `*counter` is `target`, or so many milliseconds; true when it came. */
bool wait_until(volatile u64 *counter, u64 target, u64 ms);

#endif
