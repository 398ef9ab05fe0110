/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The TSC, with its frequency measured by the HPET: independent of the APIC, whose accesses QEMU may be tracing.
 * QEMU's HPET counts at 100 MHz.
 */
#include "hpet_registers.h"
#include "machine.h"
#include "x86.h"

#define HPET_TICK_NS    10ull
#define CALIBRATION_NS  500000ull
#define CALIBRATION_LOOKS 4
#define FALLBACK_TSC_KHZ 1000000ull

struct moment {
	u64 tsc, width;
	u32 hpet;
};

/* Both counters at one time. A delay between two instructions is possible: the fastest of several readings is used. */
static struct moment look(void)
{
	struct moment best = { .width = ~0ull };

	for (u32 i = 0; i < CALIBRATION_LOOKS; i++) {
		u64 before = rdtsc();
		u32 hpet = mmio_read32(HPET_BASE + HPET_COUNTER);
		u64 width = rdtsc() - before;

		if (width < best.width)
			best = (struct moment){ .tsc = before + width / 2, .width = width, .hpet = hpet };
	}
	return best;
}

void clock_calibrate(struct machine *machine)
{
	struct moment first, last;
	u32 elapsed;

	mmio_write32(HPET_BASE + HPET_CONFIG, HPET_RUN);
	first = look();
	do {
		last = look();
		elapsed = last.hpet - first.hpet;
	} while (elapsed < CALIBRATION_NS / HPET_TICK_NS && (elapsed || last.tsc - first.tsc < 1000000000));
	mmio_write32(HPET_BASE + HPET_CONFIG, 0);
	mmio_write32(HPET_BASE + HPET_COUNTER, 0);
	mmio_write32(HPET_BASE + HPET_COUNTER + 4, 0);
	machine->tsc_khz = elapsed ? (last.tsc - first.tsc) * 1000000 / (elapsed * HPET_TICK_NS) : FALLBACK_TSC_KHZ;
	machine->tsc_to_ns = (1000000ull << 32) / machine->tsc_khz;
	machine->ns_to_tsc = (machine->tsc_khz << 32) / 1000000;
	machine->tsc_start = first.tsc;
}

u64 clock_ns(const struct machine *machine)
{
	return (u64)(((unsigned __int128)(rdtsc() - machine->tsc_start) * machine->tsc_to_ns) >> 32);
}
