/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Points, their checks, and their report: TAP version 14 on the serial port. */
#ifndef TAP_H
#define TAP_H

#include "types.h"

struct point {
	const char *name;      /* group/point; docs/conformance.md has the source of each expectation */
	u32 needs;             /* enum need of platform.h */
	void (*run)(void);     /* or run_with(argument) */
	void (*run_with)(u64 argument);
	u64 argument;
};

/* The points of one subject, in the order in which they run. */
struct group {
	const struct point *points;
	u32 count;
	void (*prepare)(void); /* before each point that is run */
};
#define GROUP(name, array, before) \
	const struct group name = { .points = array, .count = sizeof(array) / sizeof(array[0]), .prepare = before }

/*
 * A check returns whether it passed. The report has the first check of a point that failed. The point continues after a
 * failure unless it returns itself; every wait in it has a limit.
 */
bool check_equal(const char *what, u64 got, u64 wanted, const char *file, u32 line);
#define EQUAL(actual, wanted) check_equal(#actual, (u64)(actual), (u64)(wanted), __FILE__, __LINE__)
#define CHECK(condition)      check_equal(#condition, !!(condition), 1, __FILE__, __LINE__)
/* The same for one of many: `of` is its number. */
bool check_equal_of(const char *what, u64 of, u64 got, u64 wanted, const char *file, u32 line);
#define EQUAL_OF(of, actual, wanted) check_equal_of(#actual, of, (u64)(actual), (u64)(wanted), __FILE__, __LINE__)

/* The time limit of a point. An interrupt handler that runs later ends the point. */
#define POINT_LIMIT_MS 3000
#define PATIENCE_MS    500
bool tap_time_is_up(void);
/* Waits with interrupts on until `*counter` is `target`. False: not within PATIENCE_MS, or the time is up. */
bool comes(volatile u64 *counter, u64 target);
/* Waits with interrupts on, long enough for an interrupt that must not arrive. */
void let_pass(void);
/* Counts an interrupt. Ends the point after too many. */
void tap_count_interrupt(void);

/* The parameters name it among what does not run. */
bool tap_is_skipped(const char *name);
void tap_begin(u32 points);
void tap_note(const char *text); /* "# text" */
void tap_number(const char *key, u64 value); /* " key=value": part of a note */
void tap_run(const struct group *group);
void tap_result(const char *name, bool held, const char *skipped); /* a result outside of groups */
u32 tap_failures(void);
/* For struct trap_hooks: the point that runs fails. */
void tap_unexpected_exception(u64 vector, u64 error, u64 rip);
/* Prints the last line of the run. */
void tap_end(void);
/* Another run than that of points. Reports an exception that ends it. */
void tap_run_mode(void (*mode)(void));

#endif
