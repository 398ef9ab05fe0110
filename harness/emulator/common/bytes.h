/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bytes of memory. The compiler may call the first two as well. */
#ifndef SNP_BYTES_H
#define SNP_BYTES_H

#include "types.h"

void *memset(void *destination, int byte, size_t count);
void *memcpy(void *destination, const void *source, size_t count);

static inline bool bytes_are_zero(const u8 *bytes, size_t count)
{
	u8 seen = 0;

	for (size_t i = 0; i < count; i++)
		seen |= bytes[i];
	return !seen;
}

static inline bool bytes_are_equal(const u8 *a, const u8 *b, size_t count)
{
	u8 difference = 0;

	for (size_t i = 0; i < count; i++)
		difference |= a[i] ^ b[i];
	return !difference;
}

#endif
