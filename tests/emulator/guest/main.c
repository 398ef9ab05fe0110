/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Runs the tests of the mode, and prints a line for each. */
#include "guest.h"

static const struct test_parameters initial __attribute__((used, section(".parameters"))) = { .magic = PARAMETERS_MAGIC };

extern const struct test *const tests_start[], *const tests_end[];

void guest_main(void);

static bool failed;

static void begin_failure(void)
{
	print("not ok ");
	failed = true;
}

void fail(u32 line, const char *what, u64 got, u64 wanted)
{
	begin_failure();
	print("line 0x");
	print_hex(line);
	print(": ");
	print(what);
	print(" is 0x");
	print_hex(got);
	print(", not 0x");
	print_hex(wanted);
	print("\n");
}

void unexpected_exception(u64 vector, u64 error, u64 rip)
{
	begin_failure();
	print("unexpected exception 0x");
	print_hex(vector);
	print(", error code 0x");
	print_hex(error);
	print(", at 0x");
	print_hex(rip);
	print("\n");
}

extern const u8 user_end[];
extern u64 user_rsp;

bool user_trapped(struct trap_frame *frame)
{
	if (!(frame->cs & 3))
		return false;
	trap_record(frame);
	trap_return_to(frame, (u64)user_end, user_rsp);
	return true;
}

void guest_main(void)
{
	traps_setup();
	on_exception = user_trapped;
	if (sev())
		ghcb_setup();
	clock_setup();
	print("begin\n");
	for (const struct test *const *entry = tests_start; entry < tests_end && !parameters->end; entry++) {
		const struct test *test = *entry;

		if (!(test->modes & parameters->mode) || test->smp != (parameters->vcpus > 1))
			continue;
		print(test->name);
		print(": ");
		failed = false;
		if (sev())
			ghcb_clear();
		protect(test->run);
		on_interrupt = NULL;
		__asm__ volatile("cli");
		if (!failed)
			print("ok\n");
	}
	end_run();
}
