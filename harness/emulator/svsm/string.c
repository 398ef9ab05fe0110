/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The functions that GCC calls in freestanding code.
 */
#include "types.h"

void *memset(void *destination, int value, size_t count);
void *memcpy(void *destination, const void *source, size_t count);

void *memset(void *destination, int value, size_t count)
{
	void *at = destination;

	asm volatile("rep stosb" : "+D"(at), "+c"(count) : "a"(value) : "memory");
	return destination;
}

void *memcpy(void *destination, const void *source, size_t count)
{
	void *at = destination;

	asm volatile("rep movsb" : "+D"(at), "+S"(source), "+c"(count) : : "memory");
	return destination;
}
