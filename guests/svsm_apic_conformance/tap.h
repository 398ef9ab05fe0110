/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The points, what they check, and how they are told: TAP version 14 on the serial port. */
#ifndef TAP_H
#define TAP_H

#include "types.h"

struct point {
	const char *name;      /* group/point: docs/conformance.md says where each expectation is from */
	u32 needs;             /* enum need of platform.h */
	void (*run)(u64 argument);
	u64 argument;
};

/* The points of one subject, in the order they run in. */
struct group {
	const struct point *points;
	u32 count;
	void (*prepare)(void); /* before each point that is run */
};
#define GROUP(name, array, before) \
	const struct group name = { .points = array, .count = sizeof(array) / sizeof(array[0]), .prepare = before }

/*
 * A check returns whether it held. The first of a point that did not is what is told of it; the point goes on unless it
 * chooses not to: everything in it is bounded.
 */
bool check_equal(const char *what, u64 got, u64 wanted, const char *file, u32 line);
#define EQUAL(actual, wanted) check_equal(#actual, (u64)(actual), (u64)(wanted), __FILE__, __LINE__)
#define CHECK(condition)      check_equal(#condition, !!(condition), 1, __FILE__, __LINE__)
/* The same with a number that tells which of many it was. */
bool check_equal_of(const char *what, u64 of, u64 got, u64 wanted, const char *file, u32 line);
#define EQUAL_OF(of, actual, wanted) check_equal_of(#actual, of, (u64)(actual), (u64)(wanted), __FILE__, __LINE__)

/* The clock of the point that runs: no point lasts longer, an interrupt handler that comes later ends it. */
#define POINT_LIMIT_MS 3000
#define PATIENCE_MS    500
bool tap_time_is_up(void);
/* Wait with interrupts on until `*counter` is `target`; false: it did not come in PATIENCE_MS, or the time is up. */
bool comes(volatile u64 *counter, u64 target);
/* Long enough, with interrupts on, for what must not come. */
void let_pass(void);
/* An interrupt came: ends the point when it took too many. */
void tap_count_interrupt(void);

void tap_begin(u32 points);
void tap_note(const char *text); /* "# text" */
void tap_number(const char *key, u64 value); /* " key=value": part of a note */
void tap_run(const struct group *group);
void tap_result(const char *name, bool held, const char *skipped); /* of what is no point of a group */
u32 tap_failures(void);
/* For struct trap_hooks: the point that runs fails. */
void tap_unexpected_exception(u64 vector, u64 error, u64 rip);
/* The last line of the run; then nothing more is expected. */
void tap_end(void);
/* A run that is no list of points: says so when an exception ends it. */
void tap_run_mode(void (*mode)(u64 argument));

#endif
