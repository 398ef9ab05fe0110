/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Instructions that C cannot say.
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

static inline u64 read_cr2(void)
{
	u64 value;

	asm volatile("mov %%cr2, %0" : "=r"(value));
	return value;
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
