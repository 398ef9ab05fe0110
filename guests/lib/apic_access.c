/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "apic_access.h"
#include "io.h"
#include "trap.h"

u64 apic_base(void)
{
	u64 base = 0;

	msr_in(MSR_APIC_BASE, &base);
	return base;
}

bool apic_is_x2(void) { return (apic_base() & MODE_BITS) == MODE_BITS; }

u64 apic_read(u32 reg)
{
	u64 value = 0;

	if (!apic_is_x2())
		return mmio_in(APIC_DEFAULT_BASE + reg, 4);
	msr_in(X2(reg), &value);
	return value;
}

void apic_write(u32 reg, u64 value)
{
	if (apic_is_x2())
		msr_out(X2(reg), value);
	else
		mmio_out(APIC_DEFAULT_BASE + reg, 4, value);
}

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
	apic_set_mode(mode);
	apic_write(APIC_SPIV, 0x1FF);
	apic_write(APIC_TPR, 0);
	apic_write(APIC_LVT_TIMER, APIC_LVT_MASKED);
	apic_write(APIC_TIMER_INITIAL, 0);
	for (u32 reg = APIC_LVT_THERMAL; reg <= APIC_LVT_ERROR; reg += 0x10)
		apic_write(reg, APIC_LVT_MASKED);
	for (u32 word = 0; word < APIC_VECTOR_WORDS; word++) {
		for (u32 limit = 32; limit && apic_read(APIC_ISR + word * 16); limit--)
			apic_write(APIC_EOI, 0);
	}
	interrupts_forget();
}
