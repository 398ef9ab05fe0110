/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reproducible random numbers: xorshift64* (Vigna, "An experimental exploration of Marsaglia's xorshift"). */
#ifndef RANDOM_H
#define RANDOM_H

#include "types.h"

static inline u64 random_next(u64 *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 0x2545F4914F6CDD1Dull;
}

static inline u32 random_below(u64 *state, u32 limit) { return (u32)((random_next(state) >> 32) * limit >> 32); }

#endif
