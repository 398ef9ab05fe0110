/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Instructions, page tables, and the functions that the compiler calls. */
#include "cpu.h"
#include "start.h"

void *memset(void *to, int byte, size_t count);
void *memcpy(void *to, const void *from, size_t count);

void *memset(void *to, int byte, size_t count)
{
	void *start = to;

	__asm__ volatile("rep stosb" : "+D"(to), "+c"(count) : "a"(byte) : "memory");
	return start;
}

void *memcpy(void *to, const void *from, size_t count)
{
	void *start = to;

	__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
	return start;
}

u64 rdmsr(u32 msr)
{
	u32 low, high;

	__asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
	return (u64)high << 32 | low;
}

void wrmsr(u32 msr, u64 value)
{
	__asm__ volatile("wrmsr" : : "c"(msr), "a"((u32)value), "d"((u32)(value >> 32)) : "memory");
}

u32 pvalidate(u64 linear, u32 size, u32 validate, bool *carry)
{
	u32 result;
	u8 cf;

	__asm__ volatile(SEV_OPCODE_PVALIDATE "; setc %1"
			 : "=a"(result), "=r"(cf) : "a"(linear), "c"(size), "d"(validate) : "memory", "cc");
	*carry = cf;
	return result;
}

u32 rmpadjust(u64 linear, u32 size, u64 attributes)
{
	u32 result;

	__asm__ volatile(SEV_OPCODE_RMPADJUST : "=a"(result) : "a"(linear), "c"(size), "d"(attributes) : "memory", "cc");
	return result;
}

volatile u64 *map_page(u64 linear, u64 gpa, bool private)
{
	volatile u64 *table = (volatile u64 *)TEST_TABLE;

	table[(linear - TEST_AREA) / PAGE_SIZE] = gpa | (private ? c_bit() : 0) | 7;
	invlpg(linear);
	return (volatile u64 *)linear;
}
