/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Tests that run as firmware on the emulated SNP host and examine it from outside: as an SNP guest at VMPL0, under an
 * SVSM at VMPL2, and without SEV. Each test prints one line.
 */
#ifndef GUEST_H
#define GUEST_H

#include "ap.h"
#include "apic.h"
#include "clock.h"
#include "cpu.h"
#include "ghcb.h"
#include "io.h"
#include "layout.h"
#include "numbers.h"
#include "rflags.h"
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
	u32 cbit;  /* the C-bit that the guest must find; 0: SEV off */
	u32 end;   /* enum ending */
	u32 vcpus; /* more than one: only the tests of several vCPUs run */
};
_Static_assert(offsetof(struct test_parameters, end) == END_OFFSET, "user.S");
#define parameters ((const volatile struct test_parameters *)PARAMETERS)

/* Ports that the host hides from a guest (harness/snp_harness/platforms/emulated.py). */
#define DOORBELL_PORT     0x5E8
#define SVSM_CONSOLE_PORT 0x3E8

/* The mode of a run, and the modes that a test runs in. */
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
#define SMP_TEST(name, modes) DEFINE_TEST(name, modes, true) /* for runs with several vCPUs */

static inline bool ap_start_all(void) { return ap_start_others(parameters->vcpus); }

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

static inline bool any_bit(const volatile u8 *bytes, u64 size)
{
	while (size--) {
		if (*bytes++)
			return true;
	}
	return false;
}

/* CPUID of a leaf's sub-leaf 0: by the instruction, or with SEV by NAE event. */
struct cpuid cpuid_or_nae(u32 leaf);

/* user.S: code at CPL 3, which ends with a trap. */
void user_run(u64 rip);
extern const u8 user_cpuid[], user_pvalidate[], user_rmpadjust[], user_invlpgb[], user_tlbsync[];
void before_paging(void); /* 32-bit code */

/* end.c: how a run ends. Each ending must leave a record that explains it, which test_ends.py checks. */
enum ending {
	END_NORMAL = 0,
	END_TRIPLE_FAULT = 1,
	END_TERMINATE = 2,      /* MSR protocol */
	END_TERMINATE_NAE = 3,
	END_RESET_HOLD = 4,     /* MSR protocol */
	END_RESET_HOLD_NAE = 5,
	END_UNSUPPORTED = 6,    /* NAE 8000FFFF */
	END_NO_IDT = 7,         /* #VC without a gate */
	END_NO_STACK = 8,       /* #VC with RSP at an address that is not mapped */
	END_PRIVATE_GHCB = 9,   /* VMGEXIT with a GHCB that is neither shared nor registered */
	END_PRIVATE_MMIO = END_UNPAGED_ACCESS, /* without paging: before_paging() */
	END_SVSM_MEMORY = 11,   /* a VMPL2 that reads its own VMSA's page */
	END_INSTRUCTION = 12,   /* a plain guest that executes the APIC page */
	END_STRING_IO = 13,     /* a plain guest's INS from a hidden port */
	END_GHCB_UNREGISTERED = 14, /* VMGEXIT with a shared GHCB that is not registered any more */
	END_BREAKPOINT = 15,    /* a plain guest's breakpoint at an address of the host's code */
	END_SUSPEND = 16,       /* S3 */
	/* VMPL1 executes a page that only the supervisor or only user code may execute, at CPL 0 or 3. */
	END_EXECUTE_SUPERVISOR_0 = 17,
	END_EXECUTE_SUPERVISOR_3 = 18,
	END_EXECUTE_USER_0 = 19,
	END_EXECUTE_USER_3 = 20,
	END_RESET = 21,         /* by port CF9 */
	END_COVER = 22,         /* accesses the APIC with MMCONFIG moved over the log, then ends normally */
	END_INIT_MESSAGE = 23,  /* a device sends INIT to the processor that the host runs on */
	END_INIT_UNDER_A_BAR = 24, /* the same with a BAR over the ROM */
	END_RUN_CREATED_ON_INIT = 25, /* VMPL1 runs a VMSA that was created "on INIT"; no INIT comes */
	END_RUN_DESTROYED = 26,       /* the same, with DESTROY before it runs */
	END_REPORT = 27,              /* prints an attestation report and certificates, then ends normally */
	END_REQUEST_NOWHERE = 28,     /* a guest request with a response page that is not memory */
	END_OTHER_VMSA_IN_A_CALL = 29, /* an SVSM call, after which the vCPU runs another VMSA */
	END_POWER_OFF = 31,
	END_SEV_STATUS = 30, /* prints SEV_STATUS, or that it faults, and CPUID 8000001F EAX and EBX */
};
_Noreturn void end_run(void);

#endif
