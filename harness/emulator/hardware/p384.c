/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "p384.h"
#include "bytes.h"
#include "hmac384.h"
#include "mod384.h"

_Static_assert(P384_SIZE == MOD384_BYTES && P384_SIZE == SHA384_SIZE, "a hash is a number");

/* SP 800-186, section 3.2.1.4: the field's prime, the order n, the base point G. */
static const struct num384 prime = { { 0x00000000FFFFFFFF, 0xFFFFFFFF00000000, 0xFFFFFFFFFFFFFFFE,
	  0xFFFFFFFFFFFFFFFF, 0xFFFFFFFFFFFFFFFF, 0xFFFFFFFFFFFFFFFF } };
static const struct num384 order = { { 0xECEC196ACCC52973, 0x581A0DB248B0A77A, 0xC7634D81F4372DDF,
	  0xFFFFFFFFFFFFFFFF, 0xFFFFFFFFFFFFFFFF, 0xFFFFFFFFFFFFFFFF } };
static const struct num384 base_x = { { 0x3A545E3872760AB7, 0x5502F25DBF55296C, 0x59F741E082542A38,
	  0x6E1D3B628BA79B98, 0x8EB1C71EF320AD74, 0xAA87CA22BE8B0537 } };
static const struct num384 base_y = { { 0x7A431D7C90EA0E5F, 0x0A60B1CE1D7E819D, 0xE9DA3113B5F0B8C0,
	  0xF8F41DBD289A147C, 0x5D9E98BF9292DC29, 0x3617DE4A96262C6F } };

/* x / z^2 and y / z^3, all in Montgomery form; z is 0 at infinity. */
struct point {
	struct num384 x, y, z;
};

static struct num384 square(const struct mod384 *mod, struct num384 a) { return mod384_multiply(mod, a, a); }
static struct num384 twice(const struct mod384 *mod, struct num384 a) { return mod384_add(mod, a, a); }

/* With the curve's a = -3. */
static struct point point_double(const struct mod384 *mod, const struct point *p)
{
	struct num384 zz = square(mod, p->z), yy = square(mod, p->y), xyy = mod384_multiply(mod, p->x, yy);
	struct num384 slope = mod384_multiply(mod, mod384_subtract(mod, p->x, zz), mod384_add(mod, p->x, zz));
	struct num384 four = twice(mod, twice(mod, xyy)), yyyy = square(mod, yy);
	struct point sum;

	slope = mod384_add(mod, slope, twice(mod, slope));
	sum.x = mod384_subtract(mod, square(mod, slope), twice(mod, four));
	sum.y = mod384_subtract(mod, mod384_multiply(mod, slope, mod384_subtract(mod, four, sum.x)),
				twice(mod, twice(mod, twice(mod, yyyy))));
	sum.z = twice(mod, mod384_multiply(mod, p->y, p->z));
	return sum;
}

static struct point point_add(const struct mod384 *mod, const struct point *p, const struct point *q)
{
	struct num384 pzz = square(mod, p->z), qzz = square(mod, q->z);
	struct num384 px = mod384_multiply(mod, p->x, qzz), qx = mod384_multiply(mod, q->x, pzz);
	struct num384 py = mod384_multiply(mod, p->y, mod384_multiply(mod, qzz, q->z));
	struct num384 qy = mod384_multiply(mod, q->y, mod384_multiply(mod, pzz, p->z));
	struct num384 width = mod384_subtract(mod, qx, px), height = mod384_subtract(mod, qy, py);
	struct num384 ww = square(mod, width), www = mod384_multiply(mod, ww, width), xww = mod384_multiply(mod, px, ww);
	struct point sum;

	if (num384_is_zero(p->z))
		return *q;
	if (num384_is_zero(q->z))
		return *p;
	if (num384_is_zero(width) && num384_is_zero(height))
		return point_double(mod, p);
	sum.x = mod384_subtract(mod, mod384_subtract(mod, square(mod, height), www), twice(mod, xww));
	sum.y = mod384_subtract(mod, mod384_multiply(mod, height, mod384_subtract(mod, xww, sum.x)), mod384_multiply(mod, py, www));
	sum.z = mod384_multiply(mod, width, mod384_multiply(mod, p->z, q->z));
	return sum;
}

/* The x coordinate of k G; k is not a multiple of n. */
static struct num384 base_multiple(struct num384 k)
{
	struct point base, sum = { 0 };
	struct num384 inverse;
	struct mod384 mod;

	mod384_begin(&mod, &prime);
	base = (struct point){ mod384_enter(&mod, base_x), mod384_enter(&mod, base_y), mod.one };
	for (u32 bit = 64 * MOD384_LIMBS; bit--;) {
		sum = point_double(&mod, &sum);
		if (k.limb[bit / 64] >> bit % 64 & 1)
			sum = point_add(&mod, &sum, &base);
	}
	inverse = mod384_invert(&mod, sum.z);
	return mod384_leave(&mod, mod384_multiply(&mod, sum.x, square(&mod, inverse)));
}

/* RFC 6979, section 3.2: K and V. */
struct nonces {
	u8 k[SHA384_SIZE];
	u8 v[SHA384_SIZE];
};

static void next_v(struct nonces *nonces)
{
	struct hmac384 hmac;

	hmac384_begin(&hmac, nonces->k, sizeof(nonces->k));
	hmac384_add(&hmac, nonces->v, sizeof(nonces->v));
	hmac384_end(&hmac, nonces->v);
}

static void nonces_update(struct nonces *nonces, const u8 *separator, const u8 *key, const u8 *hash)
{
	struct hmac384 hmac;

	hmac384_begin(&hmac, nonces->k, sizeof(nonces->k));
	hmac384_add(&hmac, nonces->v, sizeof(nonces->v));
	hmac384_add(&hmac, separator, 1);
	if (key) {
		hmac384_add(&hmac, key, P384_SIZE);
		hmac384_add(&hmac, hash, P384_SIZE);
	}
	hmac384_end(&hmac, nonces->k);
	next_v(nonces);
}

static const u8 zero = 0, one = 1;

/* hash: below n. */
static void nonces_begin(struct nonces *nonces, const u8 *key, const u8 *hash)
{
	memset(nonces->k, 0, sizeof(nonces->k));
	memset(nonces->v, 1, sizeof(nonces->v));
	nonces_update(nonces, &zero, key, hash);
	nonces_update(nonces, &one, key, hash);
}

static struct num384 nonces_next(struct nonces *nonces)
{
	next_v(nonces);
	return num384_read(nonces->v);
}

/* FIPS 186-5, section 6.4.1, of a number z below n. False: another nonce is needed. */
static bool sign_with(struct num384 nonce, struct num384 key, struct num384 z, struct num384 *r, struct num384 *s)
{
	struct mod384 mod;
	struct num384 sum;

	if (num384_is_zero(nonce) || !num384_less(nonce, order))
		return false;
	mod384_begin(&mod, &order);
	*r = mod384_reduce(&mod, base_multiple(nonce));
	sum = mod384_multiply(&mod, mod384_enter(&mod, *r), key); /* r key */
	sum = mod384_add(&mod, sum, z);
	*s = mod384_multiply(&mod, mod384_invert(&mod, mod384_enter(&mod, nonce)), sum);
	return !num384_is_zero(*r) && !num384_is_zero(*s);
}

void p384_sign(const u8 key[P384_SIZE], const u8 hash[P384_SIZE], u8 r[P384_SIZE], u8 s[P384_SIZE])
{
	struct num384 z = num384_read(hash), number_r, number_s;
	struct nonces nonces;
	u8 reduced[P384_SIZE];

	if (!num384_less(z, order)) {
		struct mod384 mod;

		mod384_begin(&mod, &order);
		z = mod384_reduce(&mod, z);
	}
	num384_write(z, reduced);
	nonces_begin(&nonces, key, reduced);
	while (!sign_with(nonces_next(&nonces), num384_read(key), z, &number_r, &number_s))
		nonces_update(&nonces, &zero, NULL, NULL);
	num384_write(number_r, r);
	num384_write(number_s, s);
}
