/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "apic_access.h"
#include "io.h"
#include "trap.h"

#define IN_SERVICE_MAX 32 /* of one register */

/* How registers are accessed in one mode. */
struct apic_ops {
	u64 (*read)(u32 reg);
	void (*write)(u32 reg, u64 value);
};

static u64 xapic_read(u32 reg) { return mmio_in(APIC_DEFAULT_BASE + reg, 4); }
static void xapic_write(u32 reg, u64 value) { mmio_out(APIC_DEFAULT_BASE + reg, 4, value); }

static u64 x2apic_read(u32 reg)
{
	u64 value = 0;

	msr_in(X2(reg), &value);
	return value;
}

static void x2apic_write(u32 reg, u64 value) { msr_out(X2(reg), value); }

static const struct apic_ops xapic = { xapic_read, xapic_write }, x2apic = { x2apic_read, x2apic_write };

u64 apic_base(void)
{
	u64 base = 0;

	msr_in(MSR_APIC_BASE, &base);
	return base;
}

bool apic_is_x2(void) { return (apic_base() & MODE_BITS) == MODE_BITS; }

static const struct apic_ops *apic_ops(void) { return apic_is_x2() ? &x2apic : &xapic; }

u64 apic_read(u32 reg) { return apic_ops()->read(reg); }
void apic_write(u32 reg, u64 value) { apic_ops()->write(reg, value); }

bool apic_set_mode(u64 mode)
{
	u64 now = apic_base() & MODE_BITS;

	if (now == mode)
		return true;
	if (now == MODE_BITS && mode == APIC_BASE_EN && !msr_out(MSR_APIC_BASE, BASE(0)))
		return false;
	if (now == 0 && mode == MODE_BITS && !msr_out(MSR_APIC_BASE, BASE(APIC_BASE_EN)))
		return false;
	return msr_out(MSR_APIC_BASE, BASE(mode)) && (apic_base() & MODE_BITS) == mode;
}

void apic_prepare(u64 mode)
{
	const struct apic_ops *apic;

	apic_set_mode(mode);
	apic = apic_ops();
	apic->write(APIC_SPIV, APIC_SPIV_ENABLE | APIC_SPIV_VECTOR);
	apic->write(APIC_TPR, 0);
	apic->write(APIC_LVT_TIMER, APIC_LVT_MASKED);
	apic->write(APIC_TIMER_INITIAL, 0);
	for (u32 reg = APIC_LVT_THERMAL; reg <= APIC_LVT_ERROR; reg += 0x10)
		apic->write(reg, APIC_LVT_MASKED);
	for (u32 word = 0; word < APIC_VECTOR_WORDS; word++) {
		for (u32 limit = IN_SERVICE_MAX; limit && apic->read(APIC_ISR + word * 16); limit--)
			apic->write(APIC_EOI, 0);
	}
	interrupts_forget();
}
