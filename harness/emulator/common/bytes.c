/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copies of memory, fast in QEMU, which needs one step for an item of any size. */
#include "bytes.h"
#include "types.h"

void *memset(void *destination, int byte, size_t count)
{
	void *start = destination;

	size_t words = count / 8;

	__asm__ volatile("rep stosq" : "+D"(destination), "+c"(words) : "a"((u8)byte * 0x0101010101010101ull) : "memory");
	count %= 8;
	__asm__ volatile("rep stosb" : "+D"(destination), "+c"(count) : "a"(byte) : "memory");
	return start;
}

void *memcpy(void *destination, const void *source, size_t count)
{
	void *start = destination;

	size_t words = count / 8;

	__asm__ volatile("rep movsq" : "+D"(destination), "+S"(source), "+c"(words) : : "memory");
	count %= 8;
	__asm__ volatile("rep movsb" : "+D"(destination), "+S"(source), "+c"(count) : : "memory");
	return start;
}
