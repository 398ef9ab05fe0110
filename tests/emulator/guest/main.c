/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Runs the tests of the mode and prints a line for each. */
#include "guest.h"

static const struct test_parameters initial __attribute__((used, section(".parameters"))) = {
	.magic = PARAMETERS_MAGIC,
};

extern const struct test *const tests_start[], *const tests_end[];

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

static void unexpected_exception(u64 vector, u64 error, u64 rip)
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

/* A single step is one. A trap of code at CPL 3 ends user_run(), one of 32-bit code protect(). */
static bool trapped(struct trap_frame *frame)
{
	frame->rflags &= ~RFLAGS_TF;
	if (frame->cs == SELECTOR_CODE)
		return false;
	trap_record(frame);
	trap_give_up(frame);
	return true;
}

struct cpuid cpuid_or_nae(u32 leaf)
{
	if (!sev())
		return cpuid(leaf, 0);
	ghcb_set(GHCB_RAX, leaf);
	ghcb_set(GHCB_RCX, 0);
	ghcb_set(GHCB_XCR0, 1); /* leaf D needs it */
	nae(NAE_CPUID, 0, 0);
	return (struct cpuid){ (u32)ghcb_get(GHCB_RAX), (u32)ghcb_get(GHCB_RBX), (u32)ghcb_get(GHCB_RCX),
			       (u32)ghcb_get(GHCB_RDX) };
}

static void run(u64 test) { ((const struct test *)test)->run(); }

static void guest_main(void)
{
	static const struct trap_hooks trap_hooks = { .exception = trapped, .unexpected = unexpected_exception };

	traps_setup(&trap_hooks);
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
		protect(run, (u64)test);
		on_interrupt = NULL;
		cli();
		if (!failed)
			print("ok\n");
	}
	end_run();
}

GUEST_HOOKS = { .main = guest_main, .before_paging = before_paging };
