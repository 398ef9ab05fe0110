/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hmac384.h"
#include "bytes.h"

#define INNER 0x36
#define OUTER 0x5C

static void begin_with(struct hmac384 *hmac, u8 pad)
{
	u8 block[SHA384_BLOCK];

	for (u32 i = 0; i < sizeof(block); i++)
		block[i] = hmac->key[i] ^ pad;
	sha384_begin(&hmac->sha);
	sha384_add(&hmac->sha, block, sizeof(block));
}

void hmac384_begin(struct hmac384 *hmac, const void *key, u32 size)
{
	memset(hmac->key, 0, sizeof(hmac->key));
	memcpy(hmac->key, key, size);
	begin_with(hmac, INNER);
}

void hmac384_add(struct hmac384 *hmac, const void *data, u64 size) { sha384_add(&hmac->sha, data, size); }

void hmac384_end(struct hmac384 *hmac, u8 mac[SHA384_SIZE])
{
	u8 inner[SHA384_SIZE];

	sha384_end(&hmac->sha, inner);
	begin_with(hmac, OUTER);
	sha384_add(&hmac->sha, inner, sizeof(inner));
	sha384_end(&hmac->sha, mac);
}
