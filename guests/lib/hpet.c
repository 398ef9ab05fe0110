/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hpet.h"
#include "io.h"

#define FS_PER_MS    1000000000000ull
#define ENTRY        (IOAPIC_ENTRY + 2 * HPET_GSI)

bool hpet_is_there(void)
{
	u32 period = (u32)mmio_in(HPET_BASE + HPET_CAPABILITIES + 4, 4);

	return period && period != ~0u;
}

void hpet_after_1_ms(u32 flags)
{
	mmio_out(HPET_BASE + HPET_CONFIG, 4, 0);
	mmio_out(HPET_BASE + HPET_STATUS, 4, ~0u);
	mmio_out(HPET_BASE + HPET_COUNTER, 8, 0);
	mmio_out(HPET_BASE + HPET_TIMERS, 4, flags | HPET_GSI << HPET_ROUTE_SHIFT);
	mmio_out(HPET_BASE + HPET_TIMERS + HPET_TIMER_VALUE, 8, FS_PER_MS / mmio_in(HPET_BASE + HPET_CAPABILITIES + 4, 4));
	mmio_out(HPET_BASE + HPET_CONFIG, 4, HPET_RUN);
}

void hpet_served(void) { mmio_out(HPET_BASE + HPET_STATUS, 4, 1); }

void hpet_off(void)
{
	mmio_out(HPET_BASE + HPET_TIMERS, 4, 0);
	mmio_out(HPET_BASE + HPET_STATUS, 4, ~0u);
	mmio_out(HPET_BASE + HPET_CONFIG, 4, 0);
	hpet_route(IOAPIC_ENTRY_MASKED);
}

static u32 ioapic_read(u32 index)
{
	mmio_out(IOAPIC_BASE + IOAPIC_INDEX, 4, index);
	return (u32)mmio_in(IOAPIC_BASE + IOAPIC_WINDOW, 4);
}

static void ioapic_write(u32 index, u32 value)
{
	mmio_out(IOAPIC_BASE + IOAPIC_INDEX, 4, index);
	mmio_out(IOAPIC_BASE + IOAPIC_WINDOW, 4, value);
}

void hpet_route_to(u64 apic_id, u32 low)
{
	ioapic_write(ENTRY + 1, (u32)apic_id << IOAPIC_DESTINATION_SHIFT);
	ioapic_write(ENTRY, low);
}

void hpet_route(u32 low) { hpet_route_to(0, low); }

u64 hpet_destination(void) { return ioapic_read(ENTRY + 1) >> IOAPIC_DESTINATION_SHIFT; }

bool hpet_remote_irr(void) { return ioapic_read(ENTRY) & IOAPIC_ENTRY_REMOTE_IRR; }
