/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bytes for a test driver: see buffers.py. Buffers are by number; each is allocated with exactly its size, so that the
 * sanitizer sees an access behind it.
 */
#ifndef BUFFERS_H
#define BUFFERS_H

#include "driver.h"

#define BUFFERS 8

static struct buffer {
	u8 *bytes;
	u64 size;
} buffer[BUFFERS];

static inline void resize(u64 which, u64 size)
{
	free(buffer[which].bytes);
	buffer[which] = (struct buffer){ .bytes = malloc(size), .size = size };
}

/* False: it is another command. */
static inline bool buffers_command(const char *name, const u64 *a)
{
	if (!strcmp(name, "size")) { /* buffer, size */
		resize(a[0], a[1]);
	} else if (!strcmp(name, "put")) { /* buffer, offset, how many bytes, then up to a page of them in big-endian words */
		for (u64 i = 0; i < a[2]; i++)
			buffer[a[0]].bytes[a[1] + i] = (u8)(a[3 + i / 8] >> (56 - 8 * (i % 8)));
	} else {
		return false;
	}
	driver_answer(0);
	return true;
}

#endif
