/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The PIT's counter 2 raises no interrupt; port 61 has its gate and its output (Intel 82C54). */
#include "clock.h"
#include "cpu.h"
#include "io.h"

#define PIT_COUNTER_2 0x42
#define PIT_CONTROL   0x43
#define PIT_ONE_SHOT  0xB0 /* counter 2, both bytes, mode 0 */
#define PIT_HZ        1193182
#define PIT_MS        10
#define ROUNDS        3
#define GATE_PORT     0x61
#define GATE_ON       0x01
#define SPEAKER_ON    0x02
#define GATE_OUTPUT   0x20

#define POLLS         100000      /* of a machine without a PIT */
#define FALLBACK_HZ   3000000000u

static u64 tsc_per_ms = FALLBACK_HZ / 1000;

/* TSC ticks of PIT_MS, 0 if there is no PIT. */
static u64 measure(void)
{
	u32 count = PIT_HZ / 1000 * PIT_MS, polls = 0;
	u8 gate = (u8)(io_in(GATE_PORT, 1) & ~(GATE_ON | SPEAKER_ON));
	u64 start, end;

	io_out(GATE_PORT, 1, gate);
	io_out(PIT_CONTROL, 1, PIT_ONE_SHOT);
	io_out(PIT_COUNTER_2, 1, count & 0xFF);
	io_out(PIT_COUNTER_2, 1, count >> 8);
	start = rdtsc(); /* before it counts: a measurement may be too long but never too short */
	io_out(GATE_PORT, 1, gate | GATE_ON);
	while (!(io_in(GATE_PORT, 1) & GATE_OUTPUT) && polls < POLLS)
		polls++;
	end = rdtsc();
	io_out(GATE_PORT, 1, gate);
	return polls && polls < POLLS ? end - start : 0;
}

/* An interruption makes a measurement longer: the shortest one is the most accurate. */
void clock_setup(void)
{
	u64 least = ~0ull;

	for (u32 round = 0; round < ROUNDS; round++) {
		u64 ticks = measure();

		if (ticks && ticks < least)
			least = ticks;
	}
	if (least != ~0ull)
		tsc_per_ms = least / PIT_MS;
}

u64 clock_ns(u64 ticks) { return ticks / tsc_per_ms * 1000000 + ticks % tsc_per_ms * 1000000 / tsc_per_ms; }

u64 clock_ticks(u64 us) { return us * tsc_per_ms / 1000; }

#define LONGEST_STEP_US 1000 /* of a loop that waits: one turn takes less than a hundredth of it */

struct stopwatch stopwatch_start(u64 longest_us)
{
	return (struct stopwatch){ .last = rdtsc(), .longest = clock_ticks(longest_us) };
}

u64 stopwatch_passed(struct stopwatch *watch)
{
	u64 now = rdtsc(), last = watch->last;

	if (now > last) { /* an interrupt handler may have read it in between */
		watch->last = now;
		watch->passed += now - last < watch->longest ? now - last : watch->longest;
	}
	return watch->passed;
}

void delay_us(u64 us)
{
	struct stopwatch watch = stopwatch_start(LONGEST_STEP_US);
	u64 ticks = clock_ticks(us);

	while (stopwatch_passed(&watch) < ticks)
		pause();
}

void wait_ms(u64 ms)
{
	u64 never = 0;

	wait_until(&never, 1, ms);
}

bool wait_until(volatile u64 *counter, u64 target, u64 ms)
{
	struct stopwatch watch = stopwatch_start(LONGEST_STEP_US);
	u64 ticks = clock_ticks(ms * 1000);

	sti();
	while (*counter < target && stopwatch_passed(&watch) < ticks)
		pause();
	cli();
	return *counter >= target;
}
