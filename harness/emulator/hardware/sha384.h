/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SHA-384 (FIPS 180-4): of the launch digest, and of what the security processor signs. Pure. */
#ifndef SNP_HW_SHA384_H
#define SNP_HW_SHA384_H

#include "types.h"

#define SHA384_SIZE  48
#define SHA384_BLOCK 128

struct sha384 {
	u64 state[8];
	u64 size; /* bytes so far: less than 2^61 */
	u8 block[SHA384_BLOCK];
};

void sha384_begin(struct sha384 *sha);
void sha384_add(struct sha384 *sha, const void *data, u64 size);
void sha384_end(struct sha384 *sha, u8 hash[SHA384_SIZE]);
void sha384(const void *data, u64 size, u8 hash[SHA384_SIZE]); /* all three */

#endif
