/* SPDX-License-Identifier: GPL-2.0-or-later */
/* MSR permission map: three ranges of MSRs, two bits an MSR: read, write (APM vol. 2, 15.11). */
#ifndef SNP_MSR_PERMISSIONS_H
#define SNP_MSR_PERMISSIONS_H

#include "types.h"

#define MSR_PERMISSION_RANGE 0x2000u

static inline u32 msr_permission_bit(u32 msr)
{
	u32 range = msr >= 0xC0010000 ? 2 : msr >= 0xC0000000 ? 1 : 0;

	return (range * MSR_PERMISSION_RANGE + (msr & (MSR_PERMISSION_RANGE - 1))) * 2;
}

static inline void msr_intercept(u8 *permissions, u32 msr)
{
	permissions[msr_permission_bit(msr) / 8] |= (u8)(3 << msr_permission_bit(msr) % 8);
}

static inline void msr_pass(u8 *permissions, u32 msr)
{
	permissions[msr_permission_bit(msr) / 8] &= (u8)~(3 << msr_permission_bit(msr) % 8);
}

#endif
