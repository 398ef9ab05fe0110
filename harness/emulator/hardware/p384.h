/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ECDSA signatures on the curve P-384 (FIPS 186-5), with the nonce of RFC 6979 for SHA-384: the same key and hash give the
 * same signature. Pure. Its time depends on the key: only a test's keys.
 */
#ifndef SNP_HW_P384_H
#define SNP_HW_P384_H

#include "types.h"

#define P384_SIZE 48 /* of a number, big-endian */

/* `key`: 1 to n - 1. */
void p384_sign(const u8 key[P384_SIZE], const u8 hash[P384_SIZE], u8 r[P384_SIZE], u8 s[P384_SIZE]);

#endif
