/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Arithmetic modulo an odd number of 384 bits. Pure. Its time depends on the numbers. */
#ifndef SNP_HW_MOD384_H
#define SNP_HW_MOD384_H

#include "types.h"

#define MOD384_LIMBS 6
#define MOD384_BYTES 48

struct num384 {
	u64 limb[MOD384_LIMBS]; /* the lowest first */
};

struct mod384 {
	struct num384 modulus; /* its highest bit is set */
	struct num384 one;     /* 2^384, and */
	struct num384 square;  /* 2^768 modulo it */
	u64 inverse;           /* -1 / modulus modulo 2^64 */
};

void mod384_begin(struct mod384 *mod, const struct num384 *modulus);
struct num384 num384_read(const u8 bytes[MOD384_BYTES]); /* big-endian */
void num384_write(struct num384 a, u8 bytes[MOD384_BYTES]);
bool num384_is_zero(struct num384 a);
bool num384_less(struct num384 a, struct num384 b);

/* Of numbers below the modulus, and so are the results. */
struct num384 mod384_reduce(const struct mod384 *mod, struct num384 a); /* of any number */
struct num384 mod384_add(const struct mod384 *mod, struct num384 a, struct num384 b);
struct num384 mod384_subtract(const struct mod384 *mod, struct num384 a, struct num384 b);
/* a * b / 2^384 (Montgomery): numbers in its form are multiplied by 2^384. */
struct num384 mod384_multiply(const struct mod384 *mod, struct num384 a, struct num384 b);
struct num384 mod384_enter(const struct mod384 *mod, struct num384 a); /* into that form, */
struct num384 mod384_leave(const struct mod384 *mod, struct num384 a); /* and out of it */
struct num384 mod384_invert(const struct mod384 *mod, struct num384 a); /* in that form; the modulus is a prime */

#endif
