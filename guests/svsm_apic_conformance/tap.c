/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tap.h"
#include "clock.h"
#include "cpu.h"
#include "parameters.h"
#include "platform.h"
#include "serial.h"
#include "trap.h"

#define INTERRUPTS_MAX 100000 /* of one point: more come only if a line stays active */
#define LET_PASS_MS    3
#define HEX_FROM       10     /* smaller numbers are the same in decimal */

static struct {
	const char *what, *file;
	u64 got, wanted, of;
	u32 line, count;
	bool numbered;
} failure;

static u32 number, failures;
static struct stopwatch watch;
static u64 taken;
static bool ended;

bool check_equal_of(const char *what, u64 of, u64 got, u64 wanted, const char *file, u32 line)
{
	bool held = check_equal(what, got, wanted, file, line);

	if (!held && failure.count == 1) {
		failure.of = of;
		failure.numbered = true;
	}
	return held;
}

bool check_equal(const char *what, u64 got, u64 wanted, const char *file, u32 line)
{
	if (got == wanted)
		return true;
	if (!failure.count++) {
		failure.what = what;
		failure.file = file;
		failure.line = line;
		failure.got = got;
		failure.wanted = wanted;
		failure.numbered = false;
	}
	return false;
}

void tap_unexpected_exception(u64 vector, u64 error, u64 rip)
{
	check_equal_of("unexpected exception, error code", vector, error, ~0ull, "rip", (u32)rip);
}

bool tap_time_is_up(void) { return stopwatch_passed(&watch) > clock_ticks(POINT_LIMIT_MS * 1000); }

bool comes(volatile u64 *counter, u64 target)
{
	return !tap_time_is_up() && wait_until(counter, target, PATIENCE_MS);
}

void let_pass(void) { wait_ms(LET_PASS_MS); }

void tap_count_interrupt(void)
{
	if (++taken < INTERRUPTS_MAX && !tap_time_is_up())
		return;
	check_equal("interrupts of this point until it was ended", taken, 0, "limit", POINT_LIMIT_MS);
	trap_give_up_after_interrupt();
}

static void put_number(const char *key, u64 value)
{
	print("  ");
	print(key);
	print(": ");
	if (value < HEX_FROM) {
		print_decimal(value);
	} else {
		print("0x");
		print_hex(value);
	}
	print("\n");
}

static void put_diagnostic(void)
{
	print("  ---\n  message: \"");
	for (const char *at = failure.what; *at; at++) {
		const char text[2] = { *at == '"' || *at == '\\' ? '\'' : *at, 0 };

		print(text);
	}
	print("\"\n");
	if (failure.numbered)
		put_number("of", failure.of);
	put_number("got", failure.got);
	put_number("wanted", failure.wanted);
	put_number("failures", failure.count);
	print("  at: \"");
	print(failure.file);
	print(":");
	print_decimal(failure.line);
	print("\"\n  ...\n");
}

void tap_begin(u32 points)
{
	print("TAP version 14\n1..");
	print_decimal(points);
	print("\n");
}

void tap_number(const char *key, u64 value)
{
	print(" ");
	print(key);
	print("=");
	print_decimal(value);
}

void tap_note(const char *text)
{
	print("# ");
	print(text);
	print("\n");
}

static void put_result(const char *name, const char *skipped)
{
	failures += !!failure.count;
	print(failure.count ? "not ok " : "ok ");
	print_decimal(++number);
	print(" - ");
	print(name);
	if (skipped) {
		print(" # SKIP ");
		print(skipped);
	}
	print("\n");
	if (failure.count)
		put_diagnostic();
	failure.count = 0;
}

void tap_result(const char *name, bool held, const char *skipped)
{
	if (!held)
		check_equal(name, 0, 1, __FILE__, __LINE__);
	put_result(name, skipped);
}

bool tap_is_skipped(const char *name)
{
	const volatile char *at = parameters()->skipped, *end = at + SKIPPED_MAX;

	while (at < end && *at) {
		const char *letter = name;

		while (at < end && *at == *letter && *letter) {
			at++;
			letter++;
		}
		if (at < end && *at == '\n' && !*letter)
			return true;
		while (at < end && *at && *at++ != '\n')
			;
	}
	return false;
}

/* For protect(). */
static void run_plain(u64 function) { ((void (*)(void))function)(); }

void tap_run(const struct group *group)
{
	for (u32 i = 0; i < group->count; i++) {
		const struct point *point = &group->points[i];
		const char *missing = tap_is_skipped(point->name) ? "by request" : platform_lacks(point->needs);

		watch = stopwatch_start(PATIENCE_MS * 1000);
		taken = 0;
		if (!missing) {
			print("# begin "); /* if the run ends in the point, the harness knows in which one */
			print(point->name);
			print("\n");
			if (group->prepare)
				protect(run_plain, (u64)group->prepare);
			if (point->run)
				protect(run_plain, (u64)point->run);
			else
				protect(point->run_with, point->argument);
			cli();
			on_interrupt = NULL;
			if (tap_time_is_up())
				CHECK(!"the point took longer than it may");
		}
		put_result(point->name, missing);
	}
}

u32 tap_failures(void) { return failures; }

void tap_end(void)
{
	print("# end of the tests\n");
	ended = true;
}

void tap_run_mode(void (*mode)(void))
{
	protect(run_plain, (u64)mode);
	if (!ended)
		print("Bail out! an exception ended the run\n");
}
