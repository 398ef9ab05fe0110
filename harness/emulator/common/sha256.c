/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "sha256.h"
#include "bytes.h"

#define LENGTH_AT (SHA256_BLOCK - 8)

/* Section 4.2.2. */
static const u32 constants[64] = {
	0x428A2F98, 0x71374491, 0xB5C0FBCF, 0xE9B5DBA5, 0x3956C25B, 0x59F111F1, 0x923F82A4, 0xAB1C5ED5,
	0xD807AA98, 0x12835B01, 0x243185BE, 0x550C7DC3, 0x72BE5D74, 0x80DEB1FE, 0x9BDC06A7, 0xC19BF174,
	0xE49B69C1, 0xEFBE4786, 0x0FC19DC6, 0x240CA1CC, 0x2DE92C6F, 0x4A7484AA, 0x5CB0A9DC, 0x76F988DA,
	0x983E5152, 0xA831C66D, 0xB00327C8, 0xBF597FC7, 0xC6E00BF3, 0xD5A79147, 0x06CA6351, 0x14292967,
	0x27B70A85, 0x2E1B2138, 0x4D2C6DFC, 0x53380D13, 0x650A7354, 0x766A0ABB, 0x81C2C92E, 0x92722C85,
	0xA2BFE8A1, 0xA81A664B, 0xC24B8B70, 0xC76C51A3, 0xD192E819, 0xD6990624, 0xF40E3585, 0x106AA070,
	0x19A4C116, 0x1E376C08, 0x2748774C, 0x34B0BCB5, 0x391C0CB3, 0x4ED8AA4A, 0x5B9CCA4F, 0x682E6FF3,
	0x748F82EE, 0x78A5636F, 0x84C87814, 0x8CC70208, 0x90BEFFFA, 0xA4506CEB, 0xBEF9A3F7, 0xC67178F2,
};

static u32 rotate(u32 x, u32 n) { return x >> n | x << (32 - n); }
static u32 word_at(const u8 *at) { return (u32)at[0] << 24 | (u32)at[1] << 16 | (u32)at[2] << 8 | at[3]; }

/* Section 6.2.2. */
static void add_block(struct sha256 *sha, const u8 *block)
{
	u32 w[64], s[8];

	for (u32 i = 0; i < 16; i++)
		w[i] = word_at(block + 4 * i);
	for (u32 i = 16; i < 64; i++)
		w[i] = (rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ w[i - 2] >> 10) + w[i - 7] +
		       (rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ w[i - 15] >> 3) + w[i - 16];
	memcpy(s, sha->state, sizeof(s));
	for (u32 i = 0; i < 64; i++) {
		u32 one = s[7] + (rotate(s[4], 6) ^ rotate(s[4], 11) ^ rotate(s[4], 25)) + ((s[4] & s[5]) ^ (~s[4] & s[6])) +
			  constants[i] + w[i];
		u32 two = (rotate(s[0], 2) ^ rotate(s[0], 13) ^ rotate(s[0], 22)) + ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));

		for (u32 j = 7; j; j--)
			s[j] = s[j - 1];
		s[4] += one;
		s[0] = one + two;
	}
	for (u32 i = 0; i < 8; i++)
		sha->state[i] += s[i];
}

void sha256_begin(struct sha256 *sha)
{
	static const u32 start[8] = { /* section 5.3.3 */
		0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19,
	};

	memcpy(sha->state, start, sizeof(start));
	sha->size = 0;
}

void sha256_add(struct sha256 *sha, const void *data, u64 size)
{
	const u8 *bytes = data;

	while (size) {
		u64 used = sha->size % SHA256_BLOCK;
		u64 part = size < SHA256_BLOCK - used ? size : SHA256_BLOCK - used;

		memcpy(sha->block + used, bytes, part);
		sha->size += part;
		bytes += part;
		size -= part;
		if (used + part == SHA256_BLOCK)
			add_block(sha, sha->block);
	}
}

void sha256_end(struct sha256 *sha, u8 hash[SHA256_SIZE])
{
	u64 bits = sha->size * 8;
	u8 byte = 0x80;

	do {
		sha256_add(sha, &byte, 1);
		byte = 0;
	} while (sha->size % SHA256_BLOCK != LENGTH_AT);
	for (u32 i = 0; i < 8; i++) {
		byte = (u8)(bits >> (56 - 8 * i));
		sha256_add(sha, &byte, 1);
	}
	for (u32 i = 0; i < SHA256_SIZE; i++)
		hash[i] = (u8)(sha->state[i / 4] >> (24 - 8 * (i % 4)));
}
