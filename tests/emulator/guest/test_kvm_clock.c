/* SPDX-License-Identifier: GPL-2.0-or-later */
/* KVM's clock (Linux, Documentation/virt/kvm/x86/msr.rst). */
#include "guest.h"

#define MSR_WALL_CLOCK  0x4B564D00
#define MSR_SYSTEM_TIME 0x4B564D01
#define MSR_TSC         0x10
#define STABLE          1
#define YEAR_2025       1735689600u
#define PAGE            (u64)(sev() ? BUFFER_PAGE : TEST_AREA + 0x20000)
#define TICKS           (1ull << 30)
#define JUMP            (1ull << 45) /* hours */

struct system_time {
	u32 version, padding;
	u64 tsc_timestamp, system_time;
	u32 tsc_to_system_mul;
	signed char tsc_shift;
	u8 flags;
};
static volatile struct system_time *at(void) { return (volatile struct system_time *)(PAGE + 0xF00); }

static u64 kvm_ns(u64 tsc)
{
	u64 delta = tsc - at()->tsc_timestamp;

	delta = at()->tsc_shift < 0 ? delta >> -at()->tsc_shift : delta << at()->tsc_shift;
	return at()->system_time + (u64)((unsigned __int128)delta * at()->tsc_to_system_mul >> 32);
}

TEST(kvm_clock_is_in_cpuid, ALL)
{
	struct cpuid leaf = cpuid_or_nae(0x40000000);

	EQUAL(leaf.eax, 0x40000001);
	EQUAL(leaf.ebx, 0x4B4D564B); /* KVMKVMKVM */
	EQUAL(leaf.ecx, 0x564B4D56);
	EQUAL(leaf.edx, 0x4D);
	leaf = cpuid_or_nae(0x40000001);
	EQUAL(leaf.eax, BIT(1) | BIT(3) | BIT(24));
	EQUAL(leaf.ebx | leaf.ecx | leaf.edx, 0);
}

TEST(kvm_clock_counts_nanoseconds, ALL)
{
	u64 value, first, passed, tsc = rdtsc();

	at()->version = 7;
	CHECK(msr_out(MSR_SYSTEM_TIME, (u64)at() | 1));
	CHECK(msr_in(MSR_SYSTEM_TIME, &value));
	EQUAL(value, (u64)at() | 1);
	EQUAL(at()->version, 8); /* even: the page is whole */
	EQUAL(at()->flags, STABLE);
	/* As fast as the PIT says that the TSC is; a busy machine disturbs that measurement. */
	passed = kvm_ns(tsc + TICKS) - kvm_ns(tsc);
	CHECK(passed > clock_ns(TICKS) / 2 && passed < clock_ns(TICKS) * 2);
	/* A write of the TSC does not change the time. */
	first = kvm_ns(rdtsc());
	CHECK(msr_out(MSR_TSC, rdtsc() + JUMP));
	EQUAL(at()->version, 10);
	passed = kvm_ns(rdtsc()) - first;
	CHECK(passed < clock_ns(JUMP) / 2);
	CHECK(msr_out(MSR_SYSTEM_TIME, 0));
	at()->version = 1;
	CHECK(msr_out(MSR_TSC, rdtsc() - JUMP));
	EQUAL(at()->version, 1); /* switched off */
}

TEST(kvm_wall_clock, ALL)
{
	volatile u32 *wall = (volatile u32 *)PAGE;
	u64 value;

	wall[0] = 0;
	wall[1] = 0;
	CHECK(msr_out(MSR_WALL_CLOCK, (u64)wall));
	CHECK(msr_in(MSR_WALL_CLOCK, &value));
	EQUAL(value, (u64)wall);
	EQUAL(wall[0], 2);
	CHECK(wall[1] > YEAR_2025);
}

/* KVM would write what a private access does not show. */
TEST(kvm_clock_in_a_private_page, SEV)
{
	u64 page = TEST_AREA + 0x3C000;

	CHECK(make_private(page));
	for (u32 i = 0; i < 8; i++)
		((volatile u32 *)page)[i] = ~0u;
	CHECK(msr_out(MSR_SYSTEM_TIME, page | 1));
	CHECK(msr_out(MSR_WALL_CLOCK, page));
	for (u32 i = 0; i < 8; i++)
		EQUAL(((volatile u32 *)page)[i], ~0u);
	CHECK(msr_out(MSR_SYSTEM_TIME, 0));
}
