/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Interrupts of the PIC, through LINT0 as ExtINT, must arrive as often as they were raised. */
#include "apic_access.h"
#include "guest.h"

#define PATIENCE_MS 1000
#define PIT_LONGEST_MS 55

static void pit_once(u16 count)
{
	io_out(0x43, 1, 0x30); /* counter 0, mode 0 */
	io_out(0x40, 1, count & 0xFF);
	io_out(0x40, 1, count >> 8);
}

/*
 * One request of IRQ0, after 1 ms, with interrupts off. The PIT ticks from reset on. It first gets the longest count,
 * so that no other tick occurs. If the machine was suspended long enough for one, this starts again.
 */
static void pic_setup(u8 first_vector)
{
	u64 start;

	do {
		start = rdtsc();
		pit_once(0xFFFF);
		io_out(PIC_COMMAND, 1, 0x11); /* clears requests */
		io_out(PIC_MASK, 1, first_vector);
		io_out(PIC_MASK, 1, 4);
		io_out(PIC_MASK, 1, 1);
		io_out(PIC_MASK, 1, 0xFE); /* IRQ0 only */
		pit_once(1193);
	} while (rdtsc() - start > clock_ticks(PIT_LONGEST_MS * 1000 / 2));
}

static void end_pic(u8 vector)
{
	(void)vector;
	io_out(PIC_COMMAND, 1, 0x20);
}

static void prepare(void)
{
	pic_mask_all();
	apic_prepare(APIC_BASE_EN);
	on_interrupt = end_pic;
}

/* Long enough for an interrupt that must not arrive. */
static void let_pass(void) { wait_ms(3); }

static void pic(u8 vector, bool halt)
{
	bool came = true;

	prepare();
	trap_as_interrupt(vector, true);
	interrupts[vector] = 0;
	interrupts[vector + 7] = 0;
	apic_write(APIC_LVT_LINT0, APIC_DELIVER_EXTINT << APIC_LVT_DELIVERY_SHIFT);
	pic_setup(vector);
	if (halt)
		halt_once();
	else
		came = wait_until(&interrupts[vector], 1, PATIENCE_MS);
	let_pass();
	io_out(PIC_MASK, 1, 0xFF);
	apic_write(APIC_LVT_LINT0, APIC_LVT_MASKED);
	if (vector < 32)
		trap_as_interrupt(vector, false);
	CHECK(came);
	EQUAL(interrupts[vector], 1);
	EQUAL(interrupts[vector + 7], 0); /* spurious */
	EQUAL(apic_read(APIC_ISR + vector / 32 * 16), 0); /* the APIC is not involved */
}

TEST(pic_at_20, ALL) { pic(0x20, false); }
TEST(pic_at_28, ALL) { pic(0x28, false); }
TEST(pic_below_32, ALL) { pic(0x10, false); }
TEST(pic_at_a_vector_with_error_code, ALL) { pic(0x08, false); }
TEST(pic_wakes_hlt, ALL) { pic(0x20, true); }

TEST(pic_masked_at_lint0, ALL)
{
	prepare();
	pic_setup(0x20);
	let_pass();
	EQUAL(interrupts[0x20], 0);
	apic_write(APIC_LVT_LINT0, APIC_DELIVER_EXTINT << APIC_LVT_DELIVERY_SHIFT); /* the request is still pending */
	CHECK(wait_until(&interrupts[0x20], 1, PATIENCE_MS));
	io_out(PIC_MASK, 1, 0xFF);
	apic_write(APIC_LVT_LINT0, APIC_LVT_MASKED);
	EQUAL(interrupts[0x20], 1);
}

TEST(pic_waits_for_if, ALL)
{
	prepare();
	apic_write(APIC_LVT_LINT0, APIC_DELIVER_EXTINT << APIC_LVT_DELIVERY_SHIFT);
	pic_setup(0x20);
	delay_us(5000);
	EQUAL(interrupts[0x20], 0);
	CHECK(wait_until(&interrupts[0x20], 1, PATIENCE_MS));
	let_pass();
	io_out(PIC_MASK, 1, 0xFF);
	apic_write(APIC_LVT_LINT0, APIC_LVT_MASKED);
	EQUAL(interrupts[0x20], 1);
}

TEST(pic_with_the_apic_disabled, ALL)
{
	bool came;

	prepare();
	CHECK(apic_set_mode(0));
	pic_setup(0x20);
	came = wait_until(&interrupts[0x20], 1, PATIENCE_MS);
	io_out(PIC_MASK, 1, 0xFF);
	CHECK(apic_set_mode(APIC_BASE_EN));
	CHECK(came);
	EQUAL(interrupts[0x20], 1);
}
