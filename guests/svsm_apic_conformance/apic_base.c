/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * APIC_BASE and the hypervisor's local APIC without the SVSM's: modes, transitions, and the accesses that each mode
 * refuses (APM vol. 2, figure 16-32 and 16.9; KVM lapic.c, kvm_apic_set_base).
 */
#include "groups.h"
#include "apic_access.h"
#include "io.h"
#include "platform.h"

#define DISABLED 0ull
#define XAPIC    APIC_BASE_EN
#define X2APIC   MODE_BITS
#define NEITHER  APIC_BASE_EXTD /* EXTD without EN */
#define TO(from, to) ((from) | (to) << 32)
#define REFUSED  BIT(63)

#define NOT_CLAIMED  0xFFFFFFFFu /* what a read returns where no device answers */

static void reset_value(void)
{
	EQUAL(platform.apic_base, APIC_DEFAULT_BASE | APIC_BASE_BSP | APIC_BASE_EN);
}

static void transition(u64 argument)
{
	u64 from = (u32)argument, to = (u32)((argument & ~REFUSED) >> 32);
	bool refused = argument & REFUSED;

	if (!CHECK(apic_set_mode(from)))
		return;
	EQUAL(msr_out(MSR_APIC_BASE, BASE(to)), !refused);
	EQUAL(apic_base(), BASE(refused ? from : to));
}

static void reserved_bits(void)
{
	CHECK(apic_set_mode(XAPIC));
	for (u32 bit = 0; bit < 64; bit++) {
		if (bit >= 12 && bit < platform.physical_bits)
			continue;
		if (BIT(bit) & (APIC_BASE_BSP | APIC_BASE_EXTD | APIC_BASE_EN))
			continue;
		EQUAL_OF(bit, msr_out(MSR_APIC_BASE, BASE(XAPIC) | BIT(bit)), false);
		EQUAL_OF(bit, apic_base(), BASE(XAPIC));
	}
}

/* Every MSR of 800-8FF is refused outside x2APIC mode. */
static void msrs_refused(u64 mode)
{
	u64 value;

	CHECK(apic_set_mode(mode));
	for (u32 msr = MSR_X2APIC_FIRST; msr <= MSR_X2APIC_LAST; msr++) {
		EQUAL_OF(msr, msr_in(msr, &value), false);
		EQUAL_OF(msr, msr_out(msr, 0), false);
	}
}

static void msrs_served(void)
{
	static const u32 readable[] = { APIC_ID, APIC_VERSION, APIC_SPIV, APIC_LVT_TIMER, APIC_LVT_ERROR, APIC_TIMER_INITIAL,
					APIC_TIMER_CURRENT, APIC_TIMER_DIVIDE };
	static const u32 missing[] = { APIC_APR, APIC_DFR, APIC_ICR2, APIC_REMOTE_READ, APIC_PAGE_SIZE - 0x10 };
	u64 value;

	CHECK(apic_set_mode(X2APIC));
	for (u32 i = 0; i < sizeof(readable) / sizeof(readable[0]); i++)
		EQUAL_OF(X2(readable[i]), msr_in(X2(readable[i]), &value), true);
	for (u32 i = 0; i < sizeof(missing) / sizeof(missing[0]); i++) {
		EQUAL_OF(X2(missing[i]), msr_in(X2(missing[i]), &value), false);
		EQUAL_OF(X2(missing[i]), msr_out(X2(missing[i]), 0), false);
	}
}

static void upper_half_refused(void)
{
	static const u32 registers[] = { APIC_SPIV, APIC_LVT_TIMER, APIC_TIMER_INITIAL, APIC_TIMER_DIVIDE };

	CHECK(apic_set_mode(X2APIC));
	for (u32 i = 0; i < sizeof(registers) / sizeof(registers[0]); i++)
		EQUAL_OF(X2(registers[i]), msr_out(X2(registers[i]), BIT(32) | APIC_LVT_MASKED), false);
}

static void page_served_in_xapic_mode(void)
{
	u64 version = 0;

	CHECK(apic_set_mode(X2APIC));
	CHECK(msr_in(X2(APIC_VERSION), &version));
	CHECK(apic_set_mode(DISABLED) && apic_set_mode(XAPIC));
	EQUAL(mmio_in(APIC_DEFAULT_BASE + APIC_VERSION, 4), version);
}

static void page_not_claimed(u64 mode)
{
	CHECK(apic_set_mode(mode));
	EQUAL(mmio_in(APIC_DEFAULT_BASE + APIC_VERSION, 4), NOT_CLAIMED);
	EQUAL(mmio_in(APIC_DEFAULT_BASE + APIC_SPIV, 4), NOT_CLAIMED);
}

static const struct point points[] = {
	{ "apic-base/reset-value", NEED_NOTHING, .run = reset_value },
	{ "apic-base/disabled-to-disabled", NEED_NOTHING, .run_with = transition, TO(DISABLED, DISABLED) },
	{ "apic-base/disabled-to-xapic", NEED_NOTHING, .run_with = transition, TO(DISABLED, XAPIC) },
	{ "apic-base/disabled-to-x2apic-refused", NEED_NOTHING, .run_with = transition, TO(DISABLED, X2APIC) | REFUSED },
	{ "apic-base/disabled-to-extd-refused", NEED_NOTHING, .run_with = transition, TO(DISABLED, NEITHER) | REFUSED },
	{ "apic-base/xapic-to-disabled", NEED_NOTHING, .run_with = transition, TO(XAPIC, DISABLED) },
	{ "apic-base/xapic-to-xapic", NEED_NOTHING, .run_with = transition, TO(XAPIC, XAPIC) },
	{ "apic-base/xapic-to-x2apic", NEED_X2APIC, .run_with = transition, TO(XAPIC, X2APIC) },
	{ "apic-base/xapic-to-extd-refused", NEED_NOTHING, .run_with = transition, TO(XAPIC, NEITHER) | REFUSED },
	{ "apic-base/x2apic-to-disabled", NEED_X2APIC, .run_with = transition, TO(X2APIC, DISABLED) },
	{ "apic-base/x2apic-to-xapic-refused", NEED_X2APIC, .run_with = transition, TO(X2APIC, XAPIC) | REFUSED },
	{ "apic-base/x2apic-to-x2apic", NEED_X2APIC, .run_with = transition, TO(X2APIC, X2APIC) },
	{ "apic-base/x2apic-to-extd-refused", NEED_X2APIC, .run_with = transition, TO(X2APIC, NEITHER) | REFUSED },
	{ "apic-base/reserved-bits-refused", NEED_NOTHING, .run = reserved_bits },
	{ "apic-base/msrs-refused-when-disabled", NEED_NOTHING, .run_with = msrs_refused, DISABLED },
	{ "apic-base/msrs-refused-in-xapic-mode", NEED_NOTHING, .run_with = msrs_refused, XAPIC },
	{ "apic-base/msrs-served-in-x2apic-mode", NEED_X2APIC, .run = msrs_served },
	{ "apic-base/upper-half-refused-in-x2apic-mode", NEED_X2APIC, .run = upper_half_refused },
	{ "apic-base/page-served-in-xapic-mode", NEED_X2APIC, .run = page_served_in_xapic_mode },
	{ "apic-base/page-not-claimed-when-disabled", NEED_NOTHING, .run_with = page_not_claimed, DISABLED },
	{ "apic-base/page-not-claimed-in-x2apic-mode", NEED_X2APIC, .run_with = page_not_claimed, X2APIC },
};

GROUP(apic_base_group, points, NULL);
