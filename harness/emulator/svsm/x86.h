/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Instructions that C has no operator for.
 */
#ifndef SVSM_X86_H
#define SVSM_X86_H

#include "types.h"

static inline u64 rdmsr(u32 msr)
{
	u32 low, high;

	asm volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
	return ((u64)high << 32) | low;
}

static inline void wrmsr(u32 msr, u64 value)
{
	asm volatile("wrmsr" : : "c"(msr), "a"((u32)value), "d"((u32)(value >> 32)) : "memory");
}

#define READ_CONTROL(name)                                             \
	static inline u64 read_##name(void)                            \
	{                                                              \
		u64 value;                                             \
                                                                       \
		asm volatile("mov %%" #name ", %0" : "=r"(value));     \
		return value;                                          \
	}
READ_CONTROL(cr0)
READ_CONTROL(cr2)
READ_CONTROL(cr3)
READ_CONTROL(cr4)

static inline u64 read_efer(void)
{
	return rdmsr(0xC0000080); /* APM vol. 2, 3.1.7 */
}

/* Waits until an interrupt, #HV or NMI occurs, or the hypervisor ends it. */
static inline void halt(void)
{
	asm volatile("hlt" : : : "memory");
}

/* The operand of LGDT and LIDT. */
struct descriptor_table {
	u16 limit;
	u64 base;
} __attribute__((packed));

static inline void lgdt(const struct descriptor_table *table)
{
	asm volatile("lgdt %0" : : "m"(*table));
}

static inline void lidt(const struct descriptor_table *table)
{
	asm volatile("lidt %0" : : "m"(*table));
}

#endif
