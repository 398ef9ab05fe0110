/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "mod384.h"
#include "big_endian.h"

typedef unsigned __int128 u128;

#define BITS (64 * MOD384_LIMBS)

struct num384 num384_read(const u8 bytes[MOD384_BYTES])
{
	struct num384 a;

	for (u32 i = 0; i < MOD384_LIMBS; i++)
		a.limb[MOD384_LIMBS - 1 - i] = big_endian(bytes + 8 * i);
	return a;
}

void num384_write(struct num384 a, u8 bytes[MOD384_BYTES])
{
	for (u32 i = 0; i < MOD384_LIMBS; i++)
		put_big_endian(bytes + 8 * i, a.limb[MOD384_LIMBS - 1 - i]);
}

bool num384_is_zero(struct num384 a)
{
	u64 any = 0;

	for (u32 i = 0; i < MOD384_LIMBS; i++)
		any |= a.limb[i];
	return !any;
}

/* Returns the borrow. */
static u64 subtract(struct num384 *result, struct num384 a, struct num384 b)
{
	u64 borrow = 0;

	for (u32 i = 0; i < MOD384_LIMBS; i++) {
		u128 difference = (u128)a.limb[i] - b.limb[i] - borrow;

		result->limb[i] = (u64)difference;
		borrow = (u64)(difference >> 64) & 1;
	}
	return borrow;
}

static u64 add(struct num384 *result, struct num384 a, struct num384 b)
{
	u64 carry = 0;

	for (u32 i = 0; i < MOD384_LIMBS; i++) {
		u128 sum = (u128)a.limb[i] + b.limb[i] + carry;

		result->limb[i] = (u64)sum;
		carry = (u64)(sum >> 64);
	}
	return carry;
}

bool num384_less(struct num384 a, struct num384 b)
{
	struct num384 unused;

	return subtract(&unused, a, b);
}

/* Of a number below twice the modulus, whose bit 384 is `carry`. */
static struct num384 reduce_once(const struct mod384 *mod, struct num384 a, u64 carry)
{
	struct num384 less;
	u64 borrow = subtract(&less, a, mod->modulus);

	return carry || !borrow ? less : a;
}

/* The modulus has its highest bit set: any number is below twice of it. */
struct num384 mod384_reduce(const struct mod384 *mod, struct num384 a) { return reduce_once(mod, a, 0); }

struct num384 mod384_add(const struct mod384 *mod, struct num384 a, struct num384 b)
{
	struct num384 sum;
	u64 carry = add(&sum, a, b);

	return reduce_once(mod, sum, carry);
}

struct num384 mod384_subtract(const struct mod384 *mod, struct num384 a, struct num384 b)
{
	struct num384 difference;

	if (subtract(&difference, a, b))
		add(&difference, difference, mod->modulus);
	return difference;
}

struct num384 mod384_multiply(const struct mod384 *mod, struct num384 a, struct num384 b)
{
	u64 sum[MOD384_LIMBS + 2] = { 0 };
	struct num384 result;

	for (u32 i = 0; i < MOD384_LIMBS; i++) {
		u64 carry = 0, factor;
		u128 step;

		for (u32 j = 0; j < MOD384_LIMBS; j++) {
			step = (u128)a.limb[j] * b.limb[i] + sum[j] + carry;
			sum[j] = (u64)step;
			carry = (u64)(step >> 64);
		}
		step = (u128)sum[MOD384_LIMBS] + carry;
		sum[MOD384_LIMBS] = (u64)step;
		sum[MOD384_LIMBS + 1] = (u64)(step >> 64);

		/* Add a multiple of the modulus that makes the lowest limb 0, and drop that. */
		factor = sum[0] * mod->inverse;
		carry = (u64)(((u128)factor * mod->modulus.limb[0] + sum[0]) >> 64);
		for (u32 j = 1; j < MOD384_LIMBS; j++) {
			step = (u128)factor * mod->modulus.limb[j] + sum[j] + carry;
			sum[j - 1] = (u64)step;
			carry = (u64)(step >> 64);
		}
		step = (u128)sum[MOD384_LIMBS] + carry;
		sum[MOD384_LIMBS - 1] = (u64)step;
		sum[MOD384_LIMBS] = sum[MOD384_LIMBS + 1] + (u64)(step >> 64);
	}
	for (u32 i = 0; i < MOD384_LIMBS; i++)
		result.limb[i] = sum[i];
	return reduce_once(mod, result, sum[MOD384_LIMBS]);
}

void mod384_begin(struct mod384 *mod, const struct num384 *modulus)
{
	struct num384 power = { { 1 } };
	u64 inverse = 1;

	mod->modulus = *modulus;
	for (u32 i = 0; i < 6; i++) /* each step doubles the bits that are right */
		inverse *= 2 - modulus->limb[0] * inverse;
	mod->inverse = -inverse;
	for (u32 i = 0; i < 2 * BITS; i++) {
		power = mod384_add(mod, power, power);
		if (i == BITS - 1)
			mod->one = power;
	}
	mod->square = power;
}

struct num384 mod384_enter(const struct mod384 *mod, struct num384 a) { return mod384_multiply(mod, a, mod->square); }
struct num384 mod384_leave(const struct mod384 *mod, struct num384 a)
{
	return mod384_multiply(mod, a, (struct num384){ { 1 } });
}

/* a to the power of modulus - 2 (Fermat). */
struct num384 mod384_invert(const struct mod384 *mod, struct num384 a)
{
	struct num384 exponent, result = mod->one;

	subtract(&exponent, mod->modulus, (struct num384){ { 2 } });
	for (u32 bit = BITS; bit--;) {
		result = mod384_multiply(mod, result, result);
		if (exponent.limb[bit / 64] >> bit % 64 & 1)
			result = mod384_multiply(mod, result, a);
	}
	return result;
}
