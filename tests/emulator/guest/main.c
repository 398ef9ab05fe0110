/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Runs the tests of the mode, and prints a line for each. */
#include "guest.h"

extern const struct test *const tests_start[], *const tests_end[];

void protect(void (*function)(void));
void test_trapped(u64 vector, u64 error, u64 rip);
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

void test_trapped(u64 vector, u64 error, u64 rip)
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

static void setup_ghcb(void)
{
	make_shared(GHCB_PAGE);
	make_shared(BUFFER_PAGE);
	map_page(GHCB_PAGE, GHCB_PAGE, false);
	map_page(BUFFER_PAGE, BUFFER_PAGE, false);
	msr_protocol(GHCB_PAGE | GHCB_MSR_REG_GPA_REQ);
	ghcb_clear();
}

void guest_main(void)
{
	traps_setup();
	if (sev())
		setup_ghcb();
	clock_setup();
	print("begin\n");
	for (const struct test *const *entry = tests_start; entry < tests_end && !parameters->end; entry++) {
		const struct test *test = *entry;

		if (!(test->modes & parameters->mode))
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
