/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hpet.h"
#include "io.h"

#define IOAPIC_INDEX 0xFEC00000ull
#define IOAPIC_DATA  0xFEC00010ull
#define IOAPIC_RTE   0x10
#define IOAPIC_DESTINATION_SHIFT 24

#define HPET_RUN     1u
#define FS_PER_MS    1000000000000ull

bool hpet_is_there(void)
{
	u32 period = (u32)mmio_in(HPET + HPET_CAPABILITIES + 4, 4);

	return period && period != ~0u;
}

void hpet_after_1_ms(u32 flags)
{
	mmio_out(HPET + HPET_CONFIG, 4, 0);
	mmio_out(HPET + HPET_STATUS, 4, ~0u);
	mmio_out(HPET + HPET_COUNTER, 8, 0);
	mmio_out(HPET + HPET_TIMER_CONFIG, 4, flags | HPET_GSI << HPET_ROUTE_SHIFT);
	mmio_out(HPET + HPET_TIMER_VALUE, 8, FS_PER_MS / mmio_in(HPET + HPET_CAPABILITIES + 4, 4));
	mmio_out(HPET + HPET_CONFIG, 4, HPET_RUN);
}

void hpet_served(void) { mmio_out(HPET + HPET_STATUS, 4, 1); }

void hpet_off(void)
{
	mmio_out(HPET + HPET_TIMER_CONFIG, 4, 0);
	mmio_out(HPET + HPET_STATUS, 4, ~0u);
	mmio_out(HPET + HPET_CONFIG, 4, 0);
	hpet_route(RTE_MASKED);
}

static u32 ioapic_read(u32 index)
{
	mmio_out(IOAPIC_INDEX, 4, index);
	return (u32)mmio_in(IOAPIC_DATA, 4);
}

static void ioapic_write(u32 index, u32 value)
{
	mmio_out(IOAPIC_INDEX, 4, index);
	mmio_out(IOAPIC_DATA, 4, value);
}

void hpet_route_to(u64 apic_id, u32 low)
{
	ioapic_write(IOAPIC_RTE + 2 * HPET_GSI + 1, (u32)apic_id << IOAPIC_DESTINATION_SHIFT);
	ioapic_write(IOAPIC_RTE + 2 * HPET_GSI, low);
}

void hpet_route(u32 low) { hpet_route_to(0, low); }

u64 hpet_destination(void) { return ioapic_read(IOAPIC_RTE + 2 * HPET_GSI + 1) >> IOAPIC_DESTINATION_SHIFT; }

bool hpet_remote_irr(void) { return ioapic_read(IOAPIC_RTE + 2 * HPET_GSI) & RTE_REMOTE_IRR; }
