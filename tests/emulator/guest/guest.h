/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A conformance test that runs as firmware on the emulated SNP host and looks at it from outside:
 * as an SNP guest at VMPL0, under an SVSM at VMPL2, and without SEV. Each test prints one line.
 */
#ifndef GUEST_H
#define GUEST_H

#include "apic.h"
#include "clock.h"
#include "cpu.h"
#include "ghcb.h"
#include "io.h"
#include "layout.h"
#include "serial.h"
#include "sev.h"
#include "start.h"
#include "trap.h"
#include "types.h"
#include "vmgexit.h"

/* Written into the image for each run by build.py. */
#define PARAMETERS_MAGIC 0x4D52415054534554ull /* "TESTPARM" */
struct test_parameters {
	u64 magic;
	u32 mode; /* enum mode */
	u32 cbit; /* what the guest has to find; 0: SEV off */
	u32 end;  /* enum ending */
	u32 vcpus; /* more than one: the tests of several vCPUs run, and no others */
};
#define parameters ((const volatile struct test_parameters *)PARAMETERS)

/* Modes of a run, and the ones a test is for. */
enum mode { VMPL0 = 1, SVSM = 2, PLAIN = 4, ALTERNATE = 8, SEV = VMPL0 | SVSM, ALL = SEV | PLAIN };

struct test {
	const char *name;
	u64 modes;
	void (*run)(void);
	bool smp;
};

#define DEFINE_TEST(name, modes, smp)                                                                      \
	static void name(void);                                                                            \
	static const struct test *const test_##name __attribute__((used, section(".tests"))) =             \
		&(const struct test){ #name, modes, name, smp };                                            \
	static void name(void)

/* test_guest.py finds the tests by these macros in the sources. */
#define TEST(name, modes)     DEFINE_TEST(name, modes, false)
#define SMP_TEST(name, modes) DEFINE_TEST(name, modes, true) /* with several vCPUs */

void fail(u32 line, const char *what, u64 got, u64 wanted);
#define CHECK(condition)                                              \
	do {                                                          \
		if (!(condition)) {                                   \
			fail(__LINE__, #condition, 0, 1);             \
			return;                                       \
		}                                                     \
	} while (0)
#define EQUAL(actual, expected)                                       \
	do {                                                          \
		u64 got_ = (u64)(actual), wanted_ = (u64)(expected);  \
		if (got_ != wanted_) {                                \
			fail(__LINE__, #actual, got_, wanted_);       \
			return;                                       \
		}                                                     \
	} while (0)

/* user.S: code at CPL 3, which ends with a trap. */
void user_run(u64 rip);
bool user_trapped(struct trap_frame *frame); /* for on_exception */
extern const u8 user_cpuid[], user_pvalidate[], user_rmpadjust[];

/* end.c */
_Noreturn void end_run(void);

#endif
