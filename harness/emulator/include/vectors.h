/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sets of interrupt vectors in the form of IRR, ISR and TMR: vector n is bit n % 32 of word n / 32. */
#ifndef SNP_VECTORS_H
#define SNP_VECTORS_H

#include "apic.h"
#include "types.h"

#define VECTOR_NONE (-1)
#define VECTOR_END  (32 * APIC_VECTOR_WORDS)

static inline u32 vector_word(u32 vector)
{
	return vector / 32;
}

static inline u32 vector_mask(u32 vector)
{
	return 1u << (vector % 32);
}

static inline bool vector_test(const u32 *words, u32 vector)
{
	return words[vector_word(vector)] & vector_mask(vector);
}

static inline void vector_set(u32 *words, u32 vector)
{
	words[vector_word(vector)] |= vector_mask(vector);
}

/* Set it, and say whether it was clear before. */
static inline bool vector_add(u32 *words, u32 vector)
{
	bool added = !vector_test(words, vector);

	vector_set(words, vector);
	return added;
}

static inline void vector_clear(u32 *words, u32 vector)
{
	words[vector_word(vector)] &= ~vector_mask(vector);
}

/* The highest vector below `end`, which may be VECTOR_END, or VECTOR_NONE. */
static inline int vector_highest_below(const u32 *words, u32 end)
{
	u32 within = vector_mask(end) - 1; /* bits of the word that contains `end`; none if `end` is the first bit of a word */

	for (int word = (int)vector_word(end); word >= 0; word--) {
		u32 found = word < APIC_VECTOR_WORDS ? words[word] & within : 0;

		if (found)
			return word * 32 + 31 - __builtin_clz(found);
		within = ~0u;
	}
	return VECTOR_NONE;
}

static inline int vector_highest(const u32 *words)
{
	return vector_highest_below(words, VECTOR_END);
}

#endif
