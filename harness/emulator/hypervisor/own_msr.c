/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * MTRRs (APM vol. 2, 7.7) and machine checks (9.3). What a write may have is KVM's rule: kvm_mtrr_valid, set_msr_mce.
 */
#include "own_msr.h"
#include "msr_permissions.h"

#define MISC_ENABLE    0x1A0u
#define MISC_ENABLE_FAST_STRINGS 1u
#define MCG_STATUS     0x17Au
#define MCG_CTL        0x17Bu
#define MC0_CTL        0x400u
#define MC_BANKS       10 /* QEMU's: MCG_CAP */
#define MC_REGISTERS   4  /* of a bank: CTL, STATUS, ADDR, MISC */
#define MTRR_PHYS_BASE 0x200u
#define MTRR_PAIRS     8 /* QEMU's: MTRRcap */
#define MTRR_FIX_64K   0x250u
#define MTRR_FIX_16K   0x258u
#define MTRR_FIX_4K    0x268u
#define MTRR_DEF_TYPE  0x2FFu

#define MTRR_TYPES        0x73u /* 0, 1, 4, 5 and 6 */
#define MTRR_BASE_UNUSED  0xF00u
#define MTRR_MASK_UNUSED  0x7FFu
#define MTRR_DEF_TYPE_USED 0xCFFu

static const struct {
	u32 first, count;
} ranges[] = {
	{ MTRR_PHYS_BASE, 2 * MTRR_PAIRS }, { MTRR_FIX_64K, 1 }, { MTRR_FIX_16K, 2 }, { MTRR_FIX_4K, 8 }, { MTRR_DEF_TYPE, 1 },
	{ MCG_STATUS, 2 }, { MC0_CTL, MC_REGISTERS * MC_BANKS }, { MISC_ENABLE, 1 },
};
_Static_assert(2 * MTRR_PAIRS + 1 + 2 + 8 + 1 + 2 + MC_REGISTERS * MC_BANKS + 1 == OWN_MSRS, "the ranges");

#define RANGES (sizeof(ranges) / sizeof(ranges[0]))

u64 *own_msr(struct vcpu *vcpu, u32 msr)
{
	u64 *value = vcpu->own_msr;

	for (u32 i = 0; i < RANGES; value += ranges[i++].count) {
		if (msr - ranges[i].first < ranges[i].count)
			return value + (msr - ranges[i].first);
	}
	return NULL;
}

void own_msr_intercept(u8 *permissions)
{
	for (u32 i = 0; i < RANGES; i++) {
		for (u32 msr = ranges[i].first; msr < ranges[i].first + ranges[i].count; msr++)
			msr_intercept(permissions, msr);
	}
}

void own_msr_reset(struct vcpu *vcpu)
{
	*own_msr(vcpu, MISC_ENABLE) = MISC_ENABLE_FAST_STRINGS;
	*own_msr(vcpu, MCG_CTL) = ~0ull;
	for (u32 bank = 0; bank < MC_BANKS; bank++)
		*own_msr(vcpu, MC0_CTL + MC_REGISTERS * bank) = ~0ull;
}

static bool is_type(u8 type) { return type < 8 && (MTRR_TYPES >> type & 1); }

static bool are_types(u64 types)
{
	for (u32 i = 0; i < 8; i++) {
		if (!is_type((u8)(types >> 8 * i)))
			return false;
	}
	return true;
}

static bool mtrr_accepts(const struct vcpu *vcpu, u32 msr, u64 value)
{
	u64 unused = msr & 1 ? MTRR_MASK_UNUSED : MTRR_BASE_UNUSED;

	if (msr == MTRR_DEF_TYPE)
		return !(value & ~(u64)MTRR_DEF_TYPE_USED) && is_type((u8)value);
	if (msr >= MTRR_FIX_64K)
		return are_types(value);
	if (value & (unused | ~(BIT(vcpu->hv->config->phys_bits) - 1)))
		return false;
	return (msr & 1) || is_type((u8)value);
}

static bool is_switch(u64 value) { return value == 0 || value == ~0ull; }

bool own_msr_accepts(const struct vcpu *vcpu, u32 msr, u64 value)
{
	if (msr >= MC0_CTL) {
		switch (msr % MC_REGISTERS) {
		case 0:
			return is_switch(value);
		case 1:
			return value == 0;
		default:
			return true;
		}
	}
	if (msr >= MTRR_PHYS_BASE)
		return mtrr_accepts(vcpu, msr, value);
	return msr != MCG_CTL || is_switch(value);
}
