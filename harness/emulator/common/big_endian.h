/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Big-endian numbers of 64 bits in memory. */
#ifndef SNP_BIG_ENDIAN_H
#define SNP_BIG_ENDIAN_H

#include "types.h"

static inline u64 big_endian(const u8 *at) { return __builtin_bswap64(*(const a64 *)at); }
static inline void put_big_endian(u8 *at, u64 value) { *(a64 *)at = __builtin_bswap64(value); }

#endif
