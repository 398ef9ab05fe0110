/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Interrupts that the hypervisor raises on the other vCPU: each vCPU has its own doorbell page, set of vectors and EOI (GHCB
 * specification 56421, doorbell, specific EOI; COCONUT kernel/src/cpu/apic.rs, consume_host_interrupts, perform_host_eoi).
 */
#include "groups.h"
#include "hpet.h"
#include "platform.h"
#include "svsm_apic.h"
#include "there.h"

#define VECTOR VECTOR_THERE
#define COUNT  1000000u /* of the timer: more than a millisecond */
#define ALLOW  (SVSM_APIC_VECTOR_ENABLE | VECTOR)

static bool timer_there(struct ap *ap, u32 lvt, u32 count)
{
	return ap_msr_out(ap, MSR_APIC_BASE, APIC_DEFAULT_BASE | MODE_BITS) &&
	       ap_msr_out(ap, X2(APIC_SPIV), APIC_SPIV_ENABLE | APIC_SPIV_VECTOR) &&
	       ap_msr_out(ap, X2(APIC_TIMER_DIVIDE), APIC_DIVIDE_MASK) && ap_msr_out(ap, X2(APIC_LVT_TIMER), lvt) &&
	       ap_msr_out(ap, X2(APIC_TIMER_INITIAL), count);
}

static bool allowed_there;

/* value[2]: the timer was set, value[3]: result of CONFIGURE_VECTOR. */
static void tick_there(struct ap *ap)
{
	ap->value[3] = allowed_there ? allow_there(ap, ALLOW) : SVSM_SUCCESS; /* there_prepare() has allowed none */
	ap->value[2] = timer_there(ap, APIC_TIMER_PERIODIC | VECTOR, COUNT);
	ap->value[0] = 1;
	serve_until_release();
	timer_there(ap, APIC_LVT_MASKED, 0);
}

/* The set of vectors here does not matter there. */
static void timer(u64 allowed)
{
	allowed_there = allowed;
	if (!allowed)
		allow(VECTOR);
	if (!start_there(tick_there))
		return;
	if (allowed)
		CHECK(comes_there(VECTOR, 3));
	else
		let_pass();
	if (!finish_there())
		return;
	EQUAL(aps[THERE].value[2], true);
	EQUAL(aps[THERE].value[3], SVSM_SUCCESS);
	if (!allowed)
		EQUAL(there[VECTOR], 0);
	EQUAL(here[VECTOR], 0);
}

static void allow_and_take(struct ap *ap)
{
	allow_there(ap, ALLOW);
	take_there(ap);
}

static void edge(void)
{
	if (!start_there(allow_and_take))
		return;
	hpet_route_to(THERE, VECTOR);
	hpet_after_1_ms(HPET_ENABLE);
	CHECK(comes_there(VECTOR, 1));
	let_pass();
	finish_there();
	EQUAL(there[VECTOR], 1);
	EQUAL(here[VECTOR], 0);
	EQUAL(aps[THERE].value[1], 0);
}

/* Its handler left VECTOR in service. */
static void end_level_there(struct ap *ap)
{
	allow_there(ap, ALLOW);
	ap->value[0] = 1;
	serve_until_release();
	ap->value[1] = bit_there(ap, APIC_ISR, VECTOR) && bit_there(ap, APIC_TMR, VECTOR);
	ap->value[2] = write_there(ap, APIC_EOI, 0);
}

/* The EOI of this vCPU does not end what is in service on the other one. */
static void level(void)
{
	no_eoi_there = true;
	if (!start_there(end_level_there))
		return;
	hpet_route_to(THERE, VECTOR | IOAPIC_ENTRY_LEVEL);
	hpet_after_1_ms(HPET_ENABLE | HPET_LEVEL);
	CHECK(comes_there(VECTOR, 1));
	EQUAL(hpet_remote_irr(), 1);
	EQUAL(end_by_call(), SVSM_SUCCESS);
	EQUAL(hpet_remote_irr(), 1);
	hpet_served();
	if (!finish_there())
		return;
	EQUAL(aps[THERE].value[1], 1);
	EQUAL(aps[THERE].value[2], SVSM_SUCCESS);
	EQUAL(hpet_remote_irr(), 0);
	EQUAL(there[VECTOR], 1);
	EQUAL(here[VECTOR], 0);
}

#define NEEDS (NEED_PROTOCOL | NEED_OTHER_VCPU | NEED_PROTOCOL_THERE | NEED_X2APIC)

static const struct point points[] = {
	{ "other-vcpu/timer-not-allowed-there", NEEDS, .run_with = timer, false },
	{ "other-vcpu/timer-allowed-there", NEEDS, .run_with = timer, true },
	{ "other-vcpu/device-edge", NEEDS | NEED_HPET, .run = edge },
	{ "other-vcpu/device-level-ends-there-only", NEEDS | NEED_HPET, .run = level },
};

GROUP(other_doorbell_group, points, there_prepare);
