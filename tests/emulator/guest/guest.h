/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A conformance test that runs as firmware on the emulated SNP host and looks at it from outside:
 * as an SNP guest at VMPL0, under an SVSM at VMPL2, and without SEV. Each test prints one line.
 */
#ifndef GUEST_H
#define GUEST_H

#include "apic.h"
#include "ghcb.h"
#include "layout.h"
#include "sev.h"
#include "types.h"

/* Written into the image for each run by build.py. */
struct parameters {
	u32 mode; /* enum mode */
	u32 cbit; /* 0: SEV off */
	u32 end;  /* enum ending */
	u32 reserved;
};
#define parameters ((const struct parameters *)PARAMETERS)

/* Modes of a run, and the ones a test is for. */
enum mode { VMPL0 = 1, SVSM = 2, PLAIN = 4, SEV = VMPL0 | SVSM, ALL = SEV | PLAIN };

struct test {
	const char *name;
	u64 modes;
	void (*run)(void);
};

/* test_guest.py finds the tests by this macro in the sources. */
#define TEST(name, modes)                                                                                  \
	static void name(void);                                                                            \
	static const struct test *const test_##name __attribute__((used, section(".tests"))) =             \
		&(const struct test){ #name, modes, name };                                                 \
	static void name(void)

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

static inline bool sev(void) { return parameters->mode != PLAIN; }
static inline u64 c_bit(void) { return parameters->cbit ? BIT(parameters->cbit) : 0; }

/* trap.c: what the last exception looked like. `vector` is NO_TRAP when TRY() met none. */
#define NO_TRAP (~0ull)
struct trap {
	u64 resume;
	u64 start;
	u64 vector;
	u64 error;
	u64 rip, cs, rflags, rsp, ss; /* of the interrupted code */
	u64 frame;                    /* address of the error code on the handler's stack */
	u64 handler_cs, handler_rflags;
};
extern volatile struct trap trap;
extern volatile u64 interrupts[256];    /* taken, by vector */
extern void (*on_interrupt)(u8 vector); /* called for each, with interrupts off */

/* Run an instruction that may trap; the answer is the vector. Clobbers R11. */
#define TRY(instruction, outputs, ...)                                                                            \
	({                                                                                                        \
		trap.vector = NO_TRAP;                                                                            \
		__asm__ volatile("lea 9f(%%rip), %%r11; mov %%r11, trap; lea 8f(%%rip), %%r11; mov %%r11, trap + 8\n" \
				 "8: " instruction "\n9:"                                                         \
				 : outputs                                                                        \
				 : __VA_ARGS__                                                                    \
				 : "r11", "memory", "cc");                                                        \
		trap.resume = 0;                                                                                  \
		trap.vector;                                                                                      \
	})
#define OUT(...) __VA_ARGS__

void traps_setup(void);
void trap_as_interrupt(u8 vector, bool on); /* an interrupt, without error code, whatever the vector */
void trap_set_ist(u8 vector, u8 ist);
void traps_set_ist1(u64 top);
void user_run(u64 rip);
extern const u8 user_cpuid[], user_pvalidate[], user_rmpadjust[];

/* memory.c: 4 KiB pages of TEST_AREA. */
volatile u64 *map_page(u64 linear, u64 gpa, bool private); /* linear in TEST_AREA */
static inline void invlpg(u64 linear) { __asm__ volatile("invlpg (%0)" : : "r"(linear) : "memory"); }

/* cpu.c */
u64 rdmsr(u32 msr);
void wrmsr(u32 msr, u64 value);
static inline u64 rdtsc(void)
{
	u32 low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
	return (u64)high << 32 | low;
}
u32 pvalidate(u64 linear, u32 size, u32 validate, bool *carry);
u32 rmpadjust(u64 linear, u32 size, u64 attributes);

/* ghcb.c */
u64 msr_protocol(u64 request);
void ghcb_clear(void);
void ghcb_set(u32 offset, u64 value); /* and its valid bit */
u64 ghcb_get(u32 offset);
bool ghcb_valid(u32 offset);
u64 nae(u64 code, u64 info1, u64 info2); /* SW_EXITINFO1 of the answer, its reserved half cut off */
u64 nae_raw(void);                       /* the same with what is in the page */
u64 nae_info2(void);
bool make_shared(u64 gpa);  /* page state change by MSR protocol 014 */
bool make_private(u64 gpa); /* the same, and validated: by PVALIDATE or by the SVSM */
u64 svsm_call(u64 rax, u64 rcx, u64 rdx);

/* io.c: the same in all modes, through the GHCB with SEV. */
u32 io_in(u16 port, u32 size);
void io_out(u16 port, u32 size, u32 value);
u64 mmio_in(u64 gpa, u32 size);
void mmio_out(u64 gpa, u32 size, u64 value);
bool msr_in(u32 msr, u64 *value); /* false: #GP */
bool msr_out(u32 msr, u64 value);
void print(const char *text);
void print_hex(u64 value);
void delay_us(u64 us);
void clock_setup(void);
/* Wait with interrupts on until `*counter` is `target`, or so many milliseconds; true when it came. */
bool wait_until(volatile u64 *counter, u64 target, u64 ms);

/* end.c */
_Noreturn void end_run(void);

#endif
