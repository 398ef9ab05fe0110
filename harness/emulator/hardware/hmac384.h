/* SPDX-License-Identifier: GPL-2.0-or-later */
/* HMAC (FIPS 198-1) with SHA-384. Pure. */
#ifndef SNP_HW_HMAC384_H
#define SNP_HW_HMAC384_H

#include "sha384.h"

struct hmac384 {
	struct sha384 sha;
	u8 key[SHA384_BLOCK]; /* padded with zeros */
};

void hmac384_begin(struct hmac384 *hmac, const void *key, u32 size); /* of the key: SHA384_BLOCK at most */
void hmac384_add(struct hmac384 *hmac, const void *data, u64 size);
void hmac384_end(struct hmac384 *hmac, u8 mac[SHA384_SIZE]);

#endif
