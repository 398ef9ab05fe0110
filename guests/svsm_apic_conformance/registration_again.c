/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * CONFIGURE after the last deregistration: refused, or without effect, however often. No call of a guest may end the SVSM
 * (58019, section 3: a call has a result). COCONUT counts no further, but its kernel/src/protocols/apic.rs ends the APIC
 * again.
 */
#include "groups.h"
#include "apic_access.h"
#include "cpu.h"
#include "io.h"
#include "platform.h"
#include "svsm_apic.h"
#include "trap.h"

#define VECTOR 0x71
#define TIMES  3

static void end_at_hypervisor(u8 vector)
{
	tap_count_interrupt();
	if (vector != VECTOR_NMI)
		msr_out(X2(APIC_EOI), 0);
}

static void prepare(void)
{
	apic_prepare(MODE_BITS);
	on_interrupt = end_at_hypervisor;
}

static void again(u64 rcx)
{
	for (u32 i = 0; i < TIMES; i++) {
		u64 result = configure(rcx);

		CHECK(result == SVSM_SUCCESS || result == SVSM_ERR_UNSUPPORTED_PROTOCOL);
	}
	EQUAL(rdmsr(SEV_MSR_STATUS) & SEV_STATUS_ALTERNATE_INJECTION, 0);
	CHECK(msr_out(X2(APIC_SELF_IPI), VECTOR));
	CHECK(comes(&interrupts[VECTOR], 1));
	let_pass();
	EQUAL(interrupts[VECTOR], 1);
	interrupts[VECTOR] = 0;
}

#define AFTER (NEED_PROTOCOL | NEED_X2APIC)

static const struct point points[] = {
	{ "registration/query-again", AFTER, .run_with = again, SVSM_APIC_CONFIGURE_QUERY },
	{ "registration/deregister-again", AFTER, .run_with = again, SVSM_APIC_CONFIGURE_DEREGISTER },
};

GROUP(registration_again_group, points, prepare);
