/* SPDX-License-Identifier: GPL-2.0-or-later */
/* INVLPGB and TLBSYNC (APM vol. 3), which TCG does not know. */
#include "guest.h"

#define GP 13
#define UD 6
#define INVLPGB ".byte 0x0F, 0x01, 0xFE"
#define TLBSYNC ".byte 0x0F, 0x01, 0xFF"

#define RAX_VA     BIT(0) /* the address in rAX counts */
#define RAX_ASID   BIT(2)
#define RAX_GLOBAL BIT(3)
#define COUNT_MAX  7u

#define PAGE_A (TEST_AREA + 0x60000)
#define PAGE_B (TEST_AREA + 0x61000)
#define WINDOW (TEST_AREA + 0x62000)

static void flush(u64 rax, u64 rcx)
{
	__asm__ volatile(INVLPGB : : "a"(rax), "c"(rcx), "d"(0) : "memory");
	__asm__ volatile(TLBSYNC : : : "memory");
}

/* The window shows another page from now on, as its table says; no TLB is flushed. */
static void show(u64 page)
{
	volatile u64 *table = (volatile u64 *)TEST_TABLE;

	table[(WINDOW - TEST_AREA) / PAGE_SIZE] = page | c_bit() | 7;
}

TEST(invlpgb_flushes, SEV)
{
	make_private(PAGE_A);
	make_private(PAGE_B);
	*map_page(PAGE_A, PAGE_A, true) = 1;
	*map_page(PAGE_B, PAGE_B, true) = 2;
	for (u32 i = 0; i < 8; i++) {
		show(PAGE_A);
		flush(i & 1 ? RAX_ASID | RAX_GLOBAL : WINDOW | RAX_VA | RAX_ASID, i & 2 ? COUNT_MAX : 0);
		EQUAL(*(volatile u64 *)WINDOW, 1);
		show(PAGE_B);
		flush(i & 1 ? RAX_ASID | RAX_GLOBAL : WINDOW | RAX_VA | RAX_ASID, i & 2 ? COUNT_MAX | BIT(31) : 0);
		EQUAL(*(volatile u64 *)WINDOW, 2);
	}
}

TEST(invlpgb_faults, SEV)
{
	static const struct {
		u64 rax, rcx, rdx;
	} bad[] = {
		{ RAX_ASID, COUNT_MAX + 1, 0 }, { RAX_ASID | BIT(6), 0, 0 }, { RAX_ASID | BIT(11), 0, 0 },
		{ RAX_ASID, BIT(16), 0 },       { RAX_ASID, BIT(30), 0 },    { RAX_ASID, 0, BIT(28) },
	};

	for (u32 i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		EQUAL(TRY(INVLPGB, OUT(), "a"(bad[i].rax), "c"(bad[i].rcx), "d"(bad[i].rdx)), GP);
		EQUAL(trap.error, 0);
		EQUAL(trap.rip, trap.start);
	}
	EQUAL(TRY(INVLPGB "; " TLBSYNC, OUT(), "a"(RAX_ASID), "c"(0), "d"(0x0FFFFFFF)), NO_TRAP); /* any ASID and PCID */
	EQUAL(TRY(".byte 0xF0; " TLBSYNC, OUT(), "a"(0)), UD);
}

TEST(invlpgb_at_cpl_3, SEV)
{
	user_run((u64)user_invlpgb);
	EQUAL(trap.vector, GP);
	EQUAL(trap.rip, (u64)user_invlpgb);
	user_run((u64)user_tlbsync);
	EQUAL(trap.vector, GP);
	EQUAL(trap.rip, (u64)user_tlbsync);
}

TEST(invlpgb_is_not_in_cpuid, ALL) /* as on KVM; SEV-ES guests execute it all the same */
{
	struct cpuid leaf = cpuid_or_nae(0x80000008);

	EQUAL(leaf.ebx & BIT(3), 0);
	EQUAL(leaf.edx & 0xFFFF, 0);
}

TEST(invlpgb_without_sev, PLAIN)
{
	EQUAL(TRY(INVLPGB, OUT(), "a"(RAX_ASID), "c"(0), "d"(0)), UD);
	EQUAL(TRY(TLBSYNC, OUT(), "a"(0)), UD);
}
