/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Instructions. */
#ifndef GUEST_CPU_H
#define GUEST_CPU_H

#include "sev.h"
#include "types.h"

u64 rdmsr(u32 msr);
void wrmsr(u32 msr, u64 value);
u32 pvalidate(u64 linear, u32 size, u32 validate, bool *carry);
u32 rmpadjust(u64 linear, u32 size, u64 attributes);

static inline u64 rdtsc(void)
{
	u32 low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
	return (u64)high << 32 | low;
}

static inline void cli(void) { __asm__ volatile("cli" : : : "memory"); }
static inline void sti(void) { __asm__ volatile("sti" : : : "memory"); }
/* Interrupts off for code that a handler must not interrupt. Returns RFLAGS for interrupts_restore(). */
static inline u64 interrupts_off(void)
{
	u64 flags;

	__asm__ volatile("pushfq; popq %0; cli" : "=r"(flags) : : "memory");
	return flags;
}

static inline void interrupts_restore(u64 flags)
{
	__asm__ volatile("pushq %0; popfq" : : "r"(flags) : "memory", "cc");
}

static inline void pause(void) { __asm__ volatile("pause"); }
/* STI and HLT: waits for an interrupt. */
static inline void halt_once(void) { __asm__ volatile("sti; hlt; cli" : : : "memory"); }

static inline _Noreturn void triple_fault(void)
{
	const struct __attribute__((packed)) { u16 limit; u64 base; } nothing = { 0, 0 };

	for (;;)
		__asm__ volatile("lidt %0; ud2" : : "m"(nothing));
}

struct cpuid {
	u32 eax, ebx, ecx, edx;
};
static inline struct cpuid cpuid(u32 leaf, u32 subleaf)
{
	struct cpuid result;

	__asm__ volatile("cpuid"
			 : "=a"(result.eax), "=b"(result.ebx), "=c"(result.ecx), "=d"(result.edx)
			 : "a"(leaf), "c"(subleaf));
	return result;
}

static inline u64 read_cr8(void)
{
	u64 value;

	__asm__ volatile("mov %%cr8, %0" : "=r"(value));
	return value;
}

static inline void write_cr8(u64 value) { __asm__ volatile("mov %0, %%cr8" : : "r"(value) : "memory"); }

/* Maps the 4 KiB page `linear` of TEST_AREA to `gpa` in the page table that start.S made. Returns `linear`. */
volatile u64 *map_page(u64 linear, u64 gpa, bool private);
static inline void invlpg(u64 linear) { __asm__ volatile("invlpg (%0)" : : "r"(linear) : "memory"); }

#endif
