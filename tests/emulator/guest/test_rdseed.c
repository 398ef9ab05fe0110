/* SPDX-License-Identifier: GPL-2.0-or-later */
/* RDSEED, which QEMU 7.2 executes without offering it. */
#include "guest.h"

#define ARITHMETIC 0x8D5ull /* OF, SF, ZF, AF, PF, CF */

#define RDSEED(text, before)                                                                      \
	({                                                                                        \
		u64 value_ = (before);                                                            \
		EQUAL(TRY("push $0x8D4; popfq; rdseed " text "; pushfq; popq flags", OUT("+S"(value_)), "a"(0)), NO_TRAP); \
		EQUAL(flags & ARITHMETIC, 1);                                                     \
		value_;                                                                           \
	})

static volatile u64 flags __attribute__((used));

TEST(rdseed_of_each_size, SEV)
{
	u64 all = 0, last = 0;

	for (u32 i = 0; i < 8; i++) {
		u64 value = RDSEED("%%rsi", 0);

		CHECK(value != RDSEED("%%rsi", 0));
		all |= value;
		EQUAL(RDSEED("%%esi", ~0ull) >> 32, 0);
		EQUAL(RDSEED("%%si", 0x123456789ABC0000) >> 16, 0x123456789ABC);
	}
	CHECK((all >> 32) && (u32)all);
	EQUAL(TRY("push %%r15; xor %%r15d, %%r15d; rdseed %%r15; mov %%r15, %%rsi; pop %%r15", OUT("=S"(last)), "a"(0)), NO_TRAP);
	CHECK(last);
	CHECK(cpuid_or_nae(7).ebx & BIT(18));
}
