/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Test driver of the emulated security processor's arithmetic: see crypto.py for the commands. */
#include "buffers.h"
#include "aes_gcm.h"
#include "hmac384.h"
#include "p384.h"

/* In parts of `part` bytes. */
static void hash(const struct buffer *data, u64 part)
{
	struct sha384 sha;
	u8 result[SHA384_SIZE];

	sha384_begin(&sha);
	for (u64 done = 0; done < data->size; done += part)
		sha384_add(&sha, data->bytes + done, data->size - done < part ? data->size - done : part);
	sha384_end(&sha, result);
	driver_show(result, sizeof(result));
}

static void mac(const struct buffer *key, const struct buffer *data)
{
	struct hmac384 hmac;
	u8 result[SHA384_SIZE];

	hmac384_begin(&hmac, key->bytes, (u32)key->size);
	hmac384_add(&hmac, data->bytes, data->size);
	hmac384_end(&hmac, result);
	driver_show(result, sizeof(result));
}

/* Buffers: key, IV, AAD, text, tag. Opening an encrypted text answers 0 if it is refused, else 1, then the text. */
static void cipher(bool seal)
{
	const struct aes_gcm_input input = { buffer[0].bytes, buffer[1].bytes, buffer[2].bytes, (u32)buffer[2].size };
	u8 *text = buffer[3].bytes, *tag = buffer[4].bytes;
	u32 size = (u32)buffer[3].size;

	if (seal)
		aes_gcm_seal(&input, text, size, tag);
	printf("%x ", seal || aes_gcm_open(&input, text, size, tag));
	for (u32 i = 0; seal && i < AES_GCM_TAG; i++)
		printf("%x ", tag[i]);
	driver_show(text, size);
}

/* Buffers: key, hash. Answers r, then s. */
static void sign(void)
{
	u8 signature[2 * P384_SIZE];

	p384_sign(buffer[0].bytes, buffer[1].bytes, signature, signature + P384_SIZE);
	driver_show(signature, sizeof(signature));
}

static void command(const char *name, const u64 *a)
{
	if (buffers_command(name, a))
		return;
	if (!strcmp(name, "seal") || !strcmp(name, "open")) {
		cipher(name[0] == 's');
	} else if (!strcmp(name, "sign")) {
		sign();
	} else if (!strcmp(name, "hmac384")) { /* buffer of the key, of the data */
		mac(&buffer[a[0]], &buffer[a[1]]);
	} else if (!strcmp(name, "sha384")) { /* buffer, part */
		hash(&buffer[a[0]], a[1]);
	}
}

int main(void) { return driver_serve(command); }
