/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Interrupts with RFLAGS.IF, the interrupt shadow of STI, and HLT (APM vol. 2, 8.2 and 15.21; vol. 3, STI, HLT). */
#include "groups.h"
#include "cpu.h"
#include "halt.h"
#include "platform.h"
#include "svsm_apic.h"
#include "trap.h"

#define VECTOR 0x61

static void if_0(void)
{
	u64 before;

	send_self(VECTOR);
	for (u32 i = 0; i < 1000; i++)
		pause();
	before = interrupts[VECTOR];
	CHECK(comes(&interrupts[VECTOR], 1));
	EQUAL(before, 0);
	EQUAL(interrupts[VECTOR], 1);
}

static void sti_shadow(void)
{
	u64 seen;

	send_self(VECTOR);
	__asm__ volatile("sti; mov %1, %0; nop; cli" : "=r"(seen) : "m"(interrupts[VECTOR]) : "memory");
	EQUAL(seen, 0);
	EQUAL(interrupts[VECTOR], 1);
}

static void sti_cli(void)
{
	send_self(VECTOR);
	for (u32 i = 0; i < 100; i++)
		__asm__ volatile("sti; cli" : : : "memory");
	EQUAL(interrupts[VECTOR], 0);
	CHECK(comes(&interrupts[VECTOR], 1));
}

static void popf(void)
{
	send_self(VECTOR);
	__asm__ volatile("pushfq; orl $0x200, (%%rsp); popfq; nop; cli" : : : "memory", "cc");
	EQUAL(interrupts[VECTOR], 1);
}

static void interrupts_on(void)
{
	u64 seen;

	sti();
	send_self(VECTOR);
	seen = interrupts[VECTOR];
	cli();
	EQUAL(seen, 1);
}

static void hlt_with_pending(void)
{
	if (!CHECK(halt_ready()))
		return;
	for (u64 count = 1; count <= 5; count++) {
		send_self(VECTOR);
		halt_once();
		EQUAL_OF(count, interrupts[VECTOR], count);
	}
}

static const struct point points[] = {
	{ "masking/if-0-holds-back", NEED_PROTOCOL, .run = if_0 },
	{ "masking/if-1-at-the-call-lets-in-at-once", NEED_PROTOCOL, .run = interrupts_on },
	{ "masking/sti-shadow-holds-back", NEED_PROTOCOL, .run = sti_shadow },
	{ "masking/sti-cli-lets-nothing-in", NEED_PROTOCOL, .run = sti_cli },
	{ "masking/popf-lets-in", NEED_PROTOCOL, .run = popf },
	{ "masking/hlt-with-a-pending-interrupt", NEED_PROTOCOL | NEED_X2APIC, .run = hlt_with_pending },
};

GROUP(masking_group, points, svsm_apic_prepare);
