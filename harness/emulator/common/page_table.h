/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tables with a byte for each 4 KiB page. */
#ifndef SNP_PAGE_TABLE_H
#define SNP_PAGE_TABLE_H

#include "types.h"

#define PAGES_IN_2M 512u
#define SCRAMBLED   0xA5 /* a page that changes its owner loses its content */

/* All 512 bytes of a 2 MiB page are the same. */
static inline bool pages_alike(const u8 *bytes)
{
	const a64 *words = (const a64 *)bytes;
	u64 all = bytes[0] * 0x0101010101010101ull;

	for (u32 i = 0; i < PAGES_IN_2M / sizeof(u64); i++) {
		if (words[i] != all)
			return false;
	}
	return true;
}

#endif
