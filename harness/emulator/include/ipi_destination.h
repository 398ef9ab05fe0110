/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The destinations of an IPI with x2APIC IDs. */
#ifndef SNP_IPI_DESTINATION_H
#define SNP_IPI_DESTINATION_H

#include "apic.h"
#include "types.h"

/* A logical x2APIC ID: the cluster in 31:16, one bit for each member in 15:0 (SDM 11.12.10.2). */
static inline u32 x2apic_ldr(u32 id)
{
	return (id >> 4) << 16 | 1u << (id & 0xF);
}

static inline u32 icr_destination(u64 icr)
{
	return (u32)(icr >> APIC_ICR_DESTINATION_SHIFT);
}

/* Whether an ICR value with a shorthand addresses a vCPU. self: it is the sender. */
static inline bool icr_shorthand_reaches(u64 icr, bool self)
{
	switch (icr & APIC_ICR_SHORTHAND) {
	case APIC_SHORTHAND_SELF:
		return self;
	case APIC_SHORTHAND_OTHERS:
		return !self;
	default:
		return true;
	}
}

/* Whether the ICR value of the vCPU with APIC ID `sender` addresses that with ID `target` (SDM 11.12.9, 11.12.10). */
static inline bool x2apic_ipi_reaches(u64 icr, u32 sender, u32 target)
{
	u32 destination = icr_destination(icr), logical = x2apic_ldr(target);

	if (icr & APIC_ICR_SHORTHAND)
		return icr_shorthand_reaches(icr, target == sender);
	if (destination == APIC_BROADCAST)
		return true;
	if (icr & APIC_ICR_LOGICAL)
		return destination >> 16 == logical >> 16 && (destination & logical & 0xFFFF);
	return destination == target;
}

#endif
