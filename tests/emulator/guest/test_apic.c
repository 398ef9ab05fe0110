/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The local APIC's modes and registers, by MSR and MMIO (KVM lapic.c; APM vol. 2, figure 16-32). */
#include "apic_access.h"
#include "guest.h"

TEST(apic_base_transitions, ALL)
{
	static const u64 modes[] = { 0, APIC_BASE_EN, MODE_BITS, APIC_BASE_EXTD };
	static const bool legal[3][4] = { { true, true, false, false }, { true, true, true, false }, { true, false, true, false } };

	for (u32 from = 0; from < 3; from++) {
		for (u32 to = 0; to < 4; to++) {
			CHECK(apic_set_mode(modes[from]));
			EQUAL(msr_out(MSR_APIC_BASE, BASE(modes[to])), legal[from][to]);
			EQUAL(apic_base() & MODE_BITS, modes[legal[from][to] ? to : from]);
		}
	}
	CHECK(apic_set_mode(APIC_BASE_EN));
}

TEST(apic_base_reserved_bits, ALL)
{
	static const u64 bits[] = { 1, 2, 0x80, 0x200, 1ull << 40, 1ull << 51, 1ull << 52, 1ull << 63 };

	CHECK(apic_set_mode(APIC_BASE_EN));
	for (u32 i = 0; i < sizeof(bits) / sizeof(bits[0]); i++) {
		CHECK(!msr_out(MSR_APIC_BASE, BASE(APIC_BASE_EN) | bits[i]));
		EQUAL(apic_base(), BASE(APIC_BASE_EN));
	}
}

TEST(apic_cpuid_follows_the_mode, ALL)
{
	CHECK(apic_set_mode(0));
	for (u64 mode = 0; mode <= APIC_BASE_EN; mode += APIC_BASE_EN) {
		struct cpuid features;

		CHECK(apic_set_mode(mode));
		features = cpuid_or_nae(1);
		EQUAL(!!(features.edx & BIT(9)), mode != 0);
		CHECK(features.ecx & BIT(21)); /* x2APIC */
		CHECK(!(features.ecx & BIT(3))); /* no MONITOR, as in KVM */
	}
}

TEST(x2apic_msrs_outside_the_mode, ALL)
{
	u64 value;

	for (u64 mode = 0; mode <= APIC_BASE_EN; mode += APIC_BASE_EN) {
		CHECK(apic_set_mode(mode));
		for (u32 msr = MSR_X2APIC_FIRST; msr < MSR_X2APIC_FIRST + 0x40; msr++) {
			CHECK(!msr_in(msr, &value));
			CHECK(!msr_out(msr, 0));
		}
	}
}

TEST(x2apic_msrs, ALL)
{
	static const u32 readable[] = { APIC_ID, APIC_VERSION, APIC_TPR, APIC_PPR, APIC_LDR, APIC_SPIV, APIC_ISR, APIC_TMR, APIC_IRR, APIC_ESR,
					APIC_ICR, APIC_LVT_TIMER, APIC_LVT_ERROR, APIC_TIMER_INITIAL, APIC_TIMER_CURRENT, APIC_TIMER_DIVIDE };
	static const u32 unreadable[] = { 0, APIC_APR, APIC_EOI, APIC_DFR, APIC_ICR2, APIC_SELF_IPI, APIC_EXTENDED_FEATURE, 0xFF0 };
	static const u32 unwritable[] = { APIC_ID, APIC_VERSION, APIC_PPR, APIC_LDR, APIC_DFR, APIC_ISR, APIC_TMR, APIC_IRR, APIC_ICR2,
					  APIC_TIMER_CURRENT, 0xFF0 };
	u64 value;

	CHECK(apic_set_mode(MODE_BITS));
	for (u32 i = 0; i < sizeof(readable) / 4; i++)
		CHECK(msr_in(X2(readable[i]), &value));
	for (u32 i = 0; i < sizeof(unreadable) / 4; i++)
		CHECK(!msr_in(X2(unreadable[i]), &value));
	for (u32 i = 0; i < sizeof(unwritable) / 4; i++)
		CHECK(!msr_out(X2(unwritable[i]), 0));
	CHECK(!msr_out(X2(APIC_TPR), 1ull << 32)); /* 63:32 are reserved except in the ICR */
	CHECK(!msr_out(X2(APIC_LVT_TIMER), 1ull << 32));
	CHECK(!msr_out(X2(APIC_ESR), 1));
	CHECK(msr_out(X2(APIC_ESR), 0));
	CHECK(!msr_out(X2(APIC_EOI), 1));
	CHECK(msr_out(X2(APIC_EOI), 0));
	CHECK(!msr_out(X2(APIC_SELF_IPI), 0x100));
	CHECK(!msr_out(X2(APIC_ICR), 1 << 13));
	CHECK(msr_in(X2(APIC_LDR), &value));
	EQUAL(value, 1);
	CHECK(msr_in(X2(APIC_ID), &value));
	EQUAL(value, 0);
	CHECK(apic_set_mode(APIC_BASE_EN));
}

TEST(xapic_page_is_not_claimed_in_other_modes, ALL)
{
	apic_prepare(APIC_BASE_EN);
	mmio_out(APIC_DEFAULT_BASE + APIC_TPR, 4, 0x20);
	CHECK(apic_set_mode(MODE_BITS));
	EQUAL(mmio_in(APIC_DEFAULT_BASE + APIC_TPR, 4), 0xFFFFFFFF);
	mmio_out(APIC_DEFAULT_BASE + APIC_TPR, 4, 0x70);
	EQUAL(apic_read(APIC_TPR), 0x20);
	CHECK(apic_set_mode(0));
	EQUAL(mmio_in(APIC_DEFAULT_BASE + APIC_VERSION, 4), 0xFFFFFFFF);
	CHECK(apic_set_mode(APIC_BASE_EN));
	EQUAL(mmio_in(APIC_DEFAULT_BASE + APIC_VERSION, 4), 0x50014);
	apic_write(APIC_TPR, 0);
}

TEST(xapic_access_sizes, ALL)
{
	apic_prepare(APIC_BASE_EN);
	EQUAL(mmio_in(APIC_DEFAULT_BASE + APIC_VERSION, 1), 0x14);
	EQUAL(mmio_in(APIC_DEFAULT_BASE + APIC_VERSION + 2, 1), 5);
	EQUAL(mmio_in(APIC_DEFAULT_BASE + APIC_VERSION, 2), 0x14);
	mmio_out(APIC_DEFAULT_BASE + APIC_TPR, 1, 0x50); /* dropped: not 4 bytes */
	mmio_out(APIC_DEFAULT_BASE + APIC_TPR + 4, 4, 0x50);
	EQUAL(mmio_in(APIC_DEFAULT_BASE + APIC_TPR, 4), 0);
}

TEST(xapic_page_edges, SEV) /* test_guest.py looks for the accesses */
{
	apic_prepare(APIC_BASE_EN);
	EQUAL(mmio_in(APIC_DEFAULT_BASE - 2, 4), 0xFFFFFFFF);
	mmio_out(APIC_DEFAULT_BASE - 2, 4, 0x12345678);
	mmio_in(APIC_DEFAULT_BASE + 0xFFE, 4);
	mmio_out(APIC_DEFAULT_BASE + 0xFFE, 4, 0x12345678);
	EQUAL(mmio_in(APIC_DEFAULT_BASE + APIC_VERSION, 4), 0x50014);
}

TEST(xapic_page_moves_with_the_base, ALL) /* and QEMU's own APIC at the old address stays hidden */
{
	u64 elsewhere = 0xFED10000;
	u32 version;

	apic_prepare(APIC_BASE_EN);
	CHECK(msr_out(MSR_APIC_BASE, elsewhere | APIC_BASE_BSP | APIC_BASE_EN));
	version = (u32)mmio_in(elsewhere + APIC_VERSION, 4);
	EQUAL(mmio_in(APIC_DEFAULT_BASE + APIC_VERSION, 4), 0xFFFFFFFF);
	CHECK(msr_out(MSR_APIC_BASE, BASE(APIC_BASE_EN)));
	EQUAL(version, 0x50014);
	EQUAL(mmio_in(APIC_DEFAULT_BASE + APIC_VERSION, 4), 0x50014);
}

TEST(apic_software_disable_masks_the_lvt, ALL)
{
	apic_prepare(APIC_BASE_EN);
	apic_write(APIC_LVT_TIMER, 0x20);
	EQUAL(apic_read(APIC_LVT_TIMER), 0x20);
	apic_write(APIC_SPIV, 0xFF);
	EQUAL(apic_read(APIC_LVT_TIMER), APIC_LVT_MASKED | 0x20);
	apic_write(APIC_LVT_TIMER, 0x30);
	EQUAL(apic_read(APIC_LVT_TIMER), APIC_LVT_MASKED | 0x30);
	apic_write(APIC_SPIV, 0x1FF);
}

TEST(cr8_is_the_tpr, ALL)
{
	for (u64 mode = APIC_BASE_EN; mode <= MODE_BITS; mode += APIC_BASE_EXTD) {
		apic_prepare(mode);
		write_cr8(9);
		EQUAL(apic_read(APIC_TPR), 0x90);
		apic_write(APIC_TPR, 0x35);
		EQUAL(read_cr8(), 3);
		EQUAL(apic_read(APIC_TPR), 0x35);
		apic_write(APIC_TPR, 0);
	}
	CHECK(apic_set_mode(APIC_BASE_EN));
}
