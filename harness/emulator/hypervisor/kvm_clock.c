/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "kvm_clock.h"
#include "memory.h"
#include "x86.h"

#define NOP_IO_DELAY   BIT(1) /* port 80 is not needed as a delay */
#define CLOCKSOURCE2   BIT(3) /* the MSRs */
#define CLOCK_STABLE   BIT(24) /* the TSCs of all vCPUs are one */

#define MSR_WALL_CLOCK  0x4B564D00u
#define MSR_SYSTEM_TIME 0x4B564D01u
#define ENABLE          1ull

struct wall_clock {
	a32 version, seconds, nanoseconds;
};

/* Nanoseconds: system_time + ((TSC - tsc_timestamp) << tsc_shift) * tsc_to_system_mul / 2^32. */
struct system_time {
	a32 version, padding;
	a64 tsc_timestamp, system_time;
	a32 tsc_to_system_mul;
	u8 tsc_shift; /* signed; here never negative */
	u8 flags;
	u8 padding2[2];
};
_Static_assert(sizeof(struct system_time) == 32, "struct pvclock_vcpu_time_info");
#define FLAG_STABLE 1u

void kvm_clock_cpuid(u32 leaf, struct cpuid_result *r)
{
	static const union { char text[13]; u32 word[3]; } name = { .text = "KVMKVMKVM" };

	if (leaf == KVM_CPUID_SIGNATURE)
		*r = (struct cpuid_result){ .eax = KVM_CPUID_FEATURES, .ebx = name.word[0], .ecx = name.word[1], .edx = name.word[2] };
	else
		*r = (struct cpuid_result){ .eax = (u32)(NOP_IO_DELAY | CLOCKSOURCE2 | CLOCK_STABLE) };
}

/* While the version is odd, or has changed, the guest reads again. Of a page that is not shared nothing is written. */
static void show_time(struct vcpu *vcpu)
{
	const struct machine *machine = vcpu->hv->machine;
	volatile struct system_time *at;
	u64 multiplier = machine->tsc_to_ns;
	u8 shift = 0;
	u32 version;

	if (!(vcpu->clock_msr & ENABLE))
		return;
	at = (volatile struct system_time *)memory_shared(vcpu->hv, vcpu->clock_msr & ~ENABLE, sizeof(*at));
	if (!at)
		return;
	for (; multiplier >> 32; multiplier /= 2)
		shift++;
	version = (at->version | 1) + 1;
	at->version = version - 1;
	at->tsc_timestamp = machine->tsc_start + hw_tsc_offset(vcpu->cpu);
	at->system_time = 0;
	at->tsc_to_system_mul = (u32)multiplier;
	at->tsc_shift = shift;
	at->flags = FLAG_STABLE;
	at->version = version;
}

/* The time of day when the clock was 0. */
static void show_wall_clock(struct vcpu *vcpu, u64 gpa)
{
	volatile struct wall_clock *at = (volatile struct wall_clock *)memory_shared(vcpu->hv, gpa, sizeof(*at));
	u32 version;

	if (!at)
		return;
	version = (at->version | 1) + 1;
	at->version = version - 1;
	at->seconds = (u32)vcpu->hv->config->started_s;
	at->nanoseconds = 0;
	at->version = version;
}

bool kvm_clock_owns_msr(u32 msr) { return msr == MSR_WALL_CLOCK || msr == MSR_SYSTEM_TIME; }

void kvm_clock_msr(struct vcpu *vcpu, u32 msr, bool write, u64 *value)
{
	if (!write) {
		*value = msr == MSR_SYSTEM_TIME ? vcpu->clock_msr : vcpu->hv->wall_clock_msr;
	} else if (msr == MSR_SYSTEM_TIME) {
		vcpu->clock_msr = *value;
		show_time(vcpu);
	} else {
		vcpu->hv->wall_clock_msr = *value;
		show_wall_clock(vcpu, *value);
	}
}

void kvm_clock_tsc_changed(struct vcpu *vcpu) { show_time(vcpu); }
