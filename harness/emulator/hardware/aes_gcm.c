/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "aes_gcm.h"
#include "big_endian.h"
#include "bytes.h"

#define BLOCK  16u
#define ROUNDS 14u
#define KEY_WORDS 8u

struct aes {
	u8 key[ROUNDS + 1][BLOCK]; /* expanded */
};

/* FIPS 197, figure 7. */
static const u8 substitution[256] = {
	0x63, 0x7C, 0x77, 0x7B, 0xF2, 0x6B, 0x6F, 0xC5, 0x30, 0x01, 0x67, 0x2B, 0xFE, 0xD7, 0xAB, 0x76,
	0xCA, 0x82, 0xC9, 0x7D, 0xFA, 0x59, 0x47, 0xF0, 0xAD, 0xD4, 0xA2, 0xAF, 0x9C, 0xA4, 0x72, 0xC0,
	0xB7, 0xFD, 0x93, 0x26, 0x36, 0x3F, 0xF7, 0xCC, 0x34, 0xA5, 0xE5, 0xF1, 0x71, 0xD8, 0x31, 0x15,
	0x04, 0xC7, 0x23, 0xC3, 0x18, 0x96, 0x05, 0x9A, 0x07, 0x12, 0x80, 0xE2, 0xEB, 0x27, 0xB2, 0x75,
	0x09, 0x83, 0x2C, 0x1A, 0x1B, 0x6E, 0x5A, 0xA0, 0x52, 0x3B, 0xD6, 0xB3, 0x29, 0xE3, 0x2F, 0x84,
	0x53, 0xD1, 0x00, 0xED, 0x20, 0xFC, 0xB1, 0x5B, 0x6A, 0xCB, 0xBE, 0x39, 0x4A, 0x4C, 0x58, 0xCF,
	0xD0, 0xEF, 0xAA, 0xFB, 0x43, 0x4D, 0x33, 0x85, 0x45, 0xF9, 0x02, 0x7F, 0x50, 0x3C, 0x9F, 0xA8,
	0x51, 0xA3, 0x40, 0x8F, 0x92, 0x9D, 0x38, 0xF5, 0xBC, 0xB6, 0xDA, 0x21, 0x10, 0xFF, 0xF3, 0xD2,
	0xCD, 0x0C, 0x13, 0xEC, 0x5F, 0x97, 0x44, 0x17, 0xC4, 0xA7, 0x7E, 0x3D, 0x64, 0x5D, 0x19, 0x73,
	0x60, 0x81, 0x4F, 0xDC, 0x22, 0x2A, 0x90, 0x88, 0x46, 0xEE, 0xB8, 0x14, 0xDE, 0x5E, 0x0B, 0xDB,
	0xE0, 0x32, 0x3A, 0x0A, 0x49, 0x06, 0x24, 0x5C, 0xC2, 0xD3, 0xAC, 0x62, 0x91, 0x95, 0xE4, 0x79,
	0xE7, 0xC8, 0x37, 0x6D, 0x8D, 0xD5, 0x4E, 0xA9, 0x6C, 0x56, 0xF4, 0xEA, 0x65, 0x7A, 0xAE, 0x08,
	0xBA, 0x78, 0x25, 0x2E, 0x1C, 0xA6, 0xB4, 0xC6, 0xE8, 0xDD, 0x74, 0x1F, 0x4B, 0xBD, 0x8B, 0x8A,
	0x70, 0x3E, 0xB5, 0x66, 0x48, 0x03, 0xF6, 0x0E, 0x61, 0x35, 0x57, 0xB9, 0x86, 0xC1, 0x1D, 0x9E,
	0xE1, 0xF8, 0x98, 0x11, 0x69, 0xD9, 0x8E, 0x94, 0x9B, 0x1E, 0x87, 0xE9, 0xCE, 0x55, 0x28, 0xDF,
	0x8C, 0xA1, 0x89, 0x0D, 0xBF, 0xE6, 0x42, 0x68, 0x41, 0x99, 0x2D, 0x0F, 0xB0, 0x54, 0xBB, 0x16,
};

static u8 twice(u8 x) { return (u8)(x << 1 ^ (x & 0x80 ? 0x1B : 0)); }

/* Section 5.2. */
static void expand(struct aes *aes, const u8 *key)
{
	u8 *words = &aes->key[0][0];
	u8 constant = 1;

	memcpy(words, key, AES_GCM_KEY);
	for (u32 i = KEY_WORDS; i < (ROUNDS + 1) * 4; i++) {
		u8 last[4];

		memcpy(last, words + 4 * (i - 1), sizeof(last));
		if (i % KEY_WORDS == 0) {
			u8 first = last[0];

			last[0] = substitution[last[1]] ^ constant;
			last[1] = substitution[last[2]];
			last[2] = substitution[last[3]];
			last[3] = substitution[first];
			constant = twice(constant);
		} else if (i % KEY_WORDS == 4) {
			for (u32 j = 0; j < 4; j++)
				last[j] = substitution[last[j]];
		}
		for (u32 j = 0; j < 4; j++)
			words[4 * i + j] = words[4 * (i - KEY_WORDS) + j] ^ last[j];
	}
}

static void add_key(u8 *state, const u8 *key)
{
	for (u32 i = 0; i < BLOCK; i++)
		state[i] ^= key[i];
}

/* SubBytes and ShiftRows. */
static void substitute(u8 *state)
{
	u8 before[BLOCK];

	memcpy(before, state, BLOCK);
	for (u32 i = 0; i < BLOCK; i++)
		state[i] = substitution[before[(i + 4 * (i % 4)) % BLOCK]];
}

static void mix_column(u8 *c)
{
	u8 all = c[0] ^ c[1] ^ c[2] ^ c[3], first = c[0];

	for (u32 i = 0; i < 4; i++)
		c[i] ^= all ^ twice(c[i] ^ (i < 3 ? c[i + 1] : first));
}

/* Section 5.1. */
static void encrypt(const struct aes *aes, u8 *state)
{
	add_key(state, aes->key[0]);
	for (u32 round = 1; round < ROUNDS; round++) {
		substitute(state);
		for (u32 column = 0; column < BLOCK; column += 4)
			mix_column(state + column);
		add_key(state, aes->key[round]);
	}
	substitute(state);
	add_key(state, aes->key[ROUNDS]);
}

/* A number of 128 bits whose first bit is the highest of `high`. */
struct element {
	u64 high;
	u64 low;
};

/* SP 800-38D, section 6.3. */
static struct element multiply(struct element x, struct element y)
{
	struct element product = { 0 };

	for (u32 i = 0; i < 128; i++) {
		u64 bit = (i < 64 ? x.high >> (63 - i) : x.low >> (127 - i)) & 1, lost = y.low & 1;

		product.high ^= y.high & -bit;
		product.low ^= y.low & -bit;
		y.low = y.low >> 1 | y.high << 63;
		y.high = y.high >> 1 ^ (0xE1ull << 56 & -lost);
	}
	return product;
}

/* Section 6.4; the last block is padded with zeros. */
static struct element hash(struct element y, struct element key, const u8 *data, u32 size)
{
	while (size) {
		u8 block[BLOCK] = { 0 };
		u32 part = size < BLOCK ? size : BLOCK;

		memcpy(block, data, part);
		y.high ^= big_endian(block);
		y.low ^= big_endian(block + 8);
		y = multiply(y, key);
		data += part;
		size -= part;
	}
	return y;
}

static void set_counter(u8 *block, const u8 *iv, u32 counter)
{
	memcpy(block, iv, AES_GCM_IV);
	for (u32 i = 0; i < 4; i++)
		block[AES_GCM_IV + i] = (u8)(counter >> (24 - 8 * i));
}

/* Section 6.5, from counter 2 on. */
static void crypt(const struct aes *aes, const u8 *iv, u8 *text, u32 size)
{
	for (u32 done = 0; done < size; done += BLOCK) {
		u8 stream[BLOCK];

		set_counter(stream, iv, done / BLOCK + 2);
		encrypt(aes, stream);
		for (u32 i = 0; i < BLOCK && i < size - done; i++)
			text[done + i] ^= stream[i];
	}
}

/* Of the encrypted text. */
static void make_tag(const struct aes *aes, const struct aes_gcm_input *input, const u8 *text, u32 size, u8 *tag)
{
	u8 zeros[BLOCK] = { 0 }, first[BLOCK], sizes[BLOCK];
	struct element key, y = { 0 };

	encrypt(aes, zeros);
	key = (struct element){ big_endian(zeros), big_endian(zeros + 8) };
	put_big_endian(sizes, input->aad_size * 8ull);
	put_big_endian(sizes + 8, size * 8ull);
	y = hash(y, key, input->aad, input->aad_size);
	y = hash(y, key, text, size);
	y = hash(y, key, sizes, sizeof(sizes));
	put_big_endian(tag, y.high);
	put_big_endian(tag + 8, y.low);
	set_counter(first, input->iv, 1);
	encrypt(aes, first);
	add_key(tag, first);
}

void aes_gcm_seal(const struct aes_gcm_input *input, u8 *text, u32 size, u8 tag[AES_GCM_TAG])
{
	struct aes aes;

	expand(&aes, input->key);
	crypt(&aes, input->iv, text, size);
	make_tag(&aes, input, text, size, tag);
}

bool aes_gcm_open(const struct aes_gcm_input *input, u8 *text, u32 size, const u8 tag[AES_GCM_TAG])
{
	u8 expected[AES_GCM_TAG];
	struct aes aes;

	expand(&aes, input->key);
	make_tag(&aes, input, text, size, expected);
	if (!bytes_are_equal(expected, tag, AES_GCM_TAG))
		return false;
	crypt(&aes, input->iv, text, size);
	return true;
}
