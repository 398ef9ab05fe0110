/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Interrupts with RFLAGS.IF, the interrupt shadow of STI, and HLT (APM vol. 2, 8.2 and 15.21; vol. 3, STI, HLT). */
#include "groups.h"
#include "cpu.h"
#include "halt.h"
#include "platform.h"
#include "svsm_apic.h"
#include "trap.h"

#define VECTOR 0x61

static void if_0(u64 argument)
{
	u64 before;

	(void)argument;
	send_self(VECTOR);
	for (u32 i = 0; i < 1000; i++)
		pause();
	before = interrupts[VECTOR];
	CHECK(comes(&interrupts[VECTOR], 1));
	EQUAL(before, 0);
	EQUAL(interrupts[VECTOR], 1);
}

static void sti_shadow(u64 argument)
{
	u64 seen;

	(void)argument;
	send_self(VECTOR);
	__asm__ volatile("sti; mov %1, %0; nop; cli" : "=r"(seen) : "m"(interrupts[VECTOR]) : "memory");
	EQUAL(seen, 0);
	EQUAL(interrupts[VECTOR], 1);
}

static void sti_cli(u64 argument)
{
	(void)argument;
	send_self(VECTOR);
	for (u32 i = 0; i < 100; i++)
		__asm__ volatile("sti; cli" : : : "memory");
	EQUAL(interrupts[VECTOR], 0);
	CHECK(comes(&interrupts[VECTOR], 1));
}

static void popf(u64 argument)
{
	(void)argument;
	send_self(VECTOR);
	__asm__ volatile("pushfq; orl $0x200, (%%rsp); popfq; nop; cli" : : : "memory", "cc");
	EQUAL(interrupts[VECTOR], 1);
}

static void interrupts_on(u64 argument)
{
	u64 seen;

	(void)argument;
	sti();
	send_self(VECTOR);
	seen = interrupts[VECTOR];
	cli();
	EQUAL(seen, 1);
}

static void hlt_with_pending(u64 argument)
{
	(void)argument;
	if (!CHECK(halt_ready()))
		return;
	for (u64 count = 1; count <= 5; count++) {
		send_self(VECTOR);
		halt_once();
		EQUAL_OF(count, interrupts[VECTOR], count);
	}
}

static const struct point points[] = {
	{ "masking/if-0-holds-back", NEED_PROTOCOL, if_0, 0 },
	{ "masking/if-1-at-the-call-lets-in-at-once", NEED_PROTOCOL, interrupts_on, 0 },
	{ "masking/sti-shadow-holds-back", NEED_PROTOCOL, sti_shadow, 0 },
	{ "masking/sti-cli-lets-nothing-in", NEED_PROTOCOL, sti_cli, 0 },
	{ "masking/popf-lets-in", NEED_PROTOCOL, popf, 0 },
	{ "masking/hlt-with-a-pending-interrupt", NEED_PROTOCOL | NEED_X2APIC, hlt_with_pending, 0 },
};

GROUP(masking_group, points, svsm_apic_prepare);
