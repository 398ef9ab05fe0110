/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SHA-256 (FIPS 180-4). Pure. */
#ifndef SNP_SHA256_H
#define SNP_SHA256_H

#include "types.h"

#define SHA256_SIZE  32
#define SHA256_BLOCK 64

struct sha256 {
	u32 state[8];
	u64 size; /* bytes so far */
	u8 block[SHA256_BLOCK];
};

void sha256_begin(struct sha256 *sha);
void sha256_add(struct sha256 *sha, const void *data, u64 size);
void sha256_end(struct sha256 *sha, u8 hash[SHA256_SIZE]);

#endif
