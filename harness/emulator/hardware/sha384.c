/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "sha384.h"
#include "big_endian.h"
#include "bytes.h"

#define LENGTH_AT (SHA384_BLOCK - 16) /* 128 bits */

/* Section 4.2.3. */
static const u64 constants[80] = {
	0x428A2F98D728AE22, 0x7137449123EF65CD, 0xB5C0FBCFEC4D3B2F, 0xE9B5DBA58189DBBC,
	0x3956C25BF348B538, 0x59F111F1B605D019, 0x923F82A4AF194F9B, 0xAB1C5ED5DA6D8118,
	0xD807AA98A3030242, 0x12835B0145706FBE, 0x243185BE4EE4B28C, 0x550C7DC3D5FFB4E2,
	0x72BE5D74F27B896F, 0x80DEB1FE3B1696B1, 0x9BDC06A725C71235, 0xC19BF174CF692694,
	0xE49B69C19EF14AD2, 0xEFBE4786384F25E3, 0x0FC19DC68B8CD5B5, 0x240CA1CC77AC9C65,
	0x2DE92C6F592B0275, 0x4A7484AA6EA6E483, 0x5CB0A9DCBD41FBD4, 0x76F988DA831153B5,
	0x983E5152EE66DFAB, 0xA831C66D2DB43210, 0xB00327C898FB213F, 0xBF597FC7BEEF0EE4,
	0xC6E00BF33DA88FC2, 0xD5A79147930AA725, 0x06CA6351E003826F, 0x142929670A0E6E70,
	0x27B70A8546D22FFC, 0x2E1B21385C26C926, 0x4D2C6DFC5AC42AED, 0x53380D139D95B3DF,
	0x650A73548BAF63DE, 0x766A0ABB3C77B2A8, 0x81C2C92E47EDAEE6, 0x92722C851482353B,
	0xA2BFE8A14CF10364, 0xA81A664BBC423001, 0xC24B8B70D0F89791, 0xC76C51A30654BE30,
	0xD192E819D6EF5218, 0xD69906245565A910, 0xF40E35855771202A, 0x106AA07032BBD1B8,
	0x19A4C116B8D2D0C8, 0x1E376C085141AB53, 0x2748774CDF8EEB99, 0x34B0BCB5E19B48A8,
	0x391C0CB3C5C95A63, 0x4ED8AA4AE3418ACB, 0x5B9CCA4F7763E373, 0x682E6FF3D6B2B8A3,
	0x748F82EE5DEFB2FC, 0x78A5636F43172F60, 0x84C87814A1F0AB72, 0x8CC702081A6439EC,
	0x90BEFFFA23631E28, 0xA4506CEBDE82BDE9, 0xBEF9A3F7B2C67915, 0xC67178F2E372532B,
	0xCA273ECEEA26619C, 0xD186B8C721C0C207, 0xEADA7DD6CDE0EB1E, 0xF57D4F7FEE6ED178,
	0x06F067AA72176FBA, 0x0A637DC5A2C898A6, 0x113F9804BEF90DAE, 0x1B710B35131C471B,
	0x28DB77F523047D84, 0x32CAAB7B40C72493, 0x3C9EBE0A15C9BEBC, 0x431D67C49C100D4C,
	0x4CC5D4BECB3E42B6, 0x597F299CFC657E2A, 0x5FCB6FAB3AD6FAEC, 0x6C44198C4A475817,
};

static inline u64 rotate(u64 x, u32 n) { return x >> n | x << (64 - n); }

/* Section 6.4.2; of the message schedule, the last 16 words are enough. QEMU executes this: it is written to be fast there. */
static void add_block(struct sha384 *sha, const u8 *block)
{
	u64 w[16];
	u64 a = sha->state[0], b = sha->state[1], c = sha->state[2], d = sha->state[3];
	u64 e = sha->state[4], f = sha->state[5], g = sha->state[6], h = sha->state[7];

	for (u32 i = 0; i < 16; i++)
		w[i] = big_endian(block + 8 * i);
	for (u32 first = 0; first < 80; first += 16) {
#pragma GCC unroll 16
		for (u32 i = 0; i < 16; i++) {
			u64 one, two;

			if (first) {
				u64 x = w[(i + 14) % 16], y = w[(i + 1) % 16];

				w[i] += (rotate(x, 19) ^ rotate(x, 61) ^ x >> 6) + w[(i + 9) % 16] + (rotate(y, 1) ^ rotate(y, 8) ^ y >> 7);
			}
			one = h + (rotate(e, 14) ^ rotate(e, 18) ^ rotate(e, 41)) + ((e & f) ^ (~e & g)) + constants[first + i] + w[i];
			two = (rotate(a, 28) ^ rotate(a, 34) ^ rotate(a, 39)) + ((a & b) ^ (a & c) ^ (b & c));
			h = g;
			g = f;
			f = e;
			e = d + one;
			d = c;
			c = b;
			b = a;
			a = one + two;
		}
	}
	sha->state[0] += a;
	sha->state[1] += b;
	sha->state[2] += c;
	sha->state[3] += d;
	sha->state[4] += e;
	sha->state[5] += f;
	sha->state[6] += g;
	sha->state[7] += h;
}

void sha384_begin(struct sha384 *sha)
{
	static const u64 start[8] = { /* section 5.3.4 */
		0xCBBB9D5DC1059ED8, 0x629A292A367CD507, 0x9159015A3070DD17, 0x152FECD8F70E5939,
		0x67332667FFC00B31, 0x8EB44A8768581511, 0xDB0C2E0D64F98FA7, 0x47B5481DBEFA4FA4,
	};

	memcpy(sha->state, start, sizeof(start));
	sha->size = 0;
}

void sha384_add(struct sha384 *sha, const void *data, u64 size)
{
	const u8 *bytes = data;

	while (size) {
		u64 used = sha->size % SHA384_BLOCK;
		u64 part = size < SHA384_BLOCK - used ? size : SHA384_BLOCK - used;

		if (part == SHA384_BLOCK) {
			add_block(sha, bytes);
		} else {
			memcpy(sha->block + used, bytes, part);
			if (used + part == SHA384_BLOCK)
				add_block(sha, sha->block);
		}
		sha->size += part;
		bytes += part;
		size -= part;
	}
}

void sha384_end(struct sha384 *sha, u8 hash[SHA384_SIZE])
{
	static const u8 padding[SHA384_BLOCK] = { 0x80 };
	u64 used = sha->size % SHA384_BLOCK;
	u8 bits[16] = { 0 };

	put_big_endian(bits + 8, sha->size * 8);
	sha384_add(sha, padding, (used < LENGTH_AT ? LENGTH_AT : SHA384_BLOCK + LENGTH_AT) - used);
	sha384_add(sha, bits, sizeof(bits));
	for (u32 i = 0; i < SHA384_SIZE / 8; i++)
		put_big_endian(hash + 8 * i, sha->state[i]);
}

void sha384(const void *data, u64 size, u8 hash[SHA384_SIZE])
{
	struct sha384 sha;

	sha384_begin(&sha);
	sha384_add(&sha, data, size);
	sha384_end(&sha, hash);
}
