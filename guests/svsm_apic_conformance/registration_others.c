/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The other vCPU after the last deregistration, which was made on this one: it has the SVSM's APIC until it makes a call of
 * CONFIGURE itself (COCONUT kernel/src/protocols/apic.rs, apic_configure). Each point depends on the ones before.
 */
#include "groups.h"
#include "cpu.h"
#include "io.h"
#include "platform.h"
#include "there.h"
#include "trap.h"

#define VECTOR  VECTOR_THERE
#define PENDING 0x51
#define MSR_MODES (APIC_DEFAULT_BASE | MODE_BITS)

static volatile bool ended_there; /* its APIC is the hypervisor's */

static void count(u8 vector)
{
	if (ap_self() == HERE) {
		here[vector]++;
		if (vector != VECTOR_NMI)
			msr_out(X2(APIC_EOI), 0);
	} else if (ended_there) {
		there[vector]++;
		ap_msr_out(&aps[THERE], X2(APIC_EOI), 0);
	} else {
		count_there(vector);
	}
}

static void prepare(void)
{
	cli();
	there_forget();
	on_interrupt = count;
}

static u64 configure_there(struct ap *ap, u64 rcx)
{
	return ap_svsm_call(ap, SVSM_CALL(SVSM_PROTOCOL_APIC, SVSM_APIC_CONFIGURE), rcx, 0).rax;
}

static bool alternate_there(void) { return rdmsr(SEV_MSR_STATUS) & SEV_STATUS_ALTERNATE_INJECTION; }

static void call_there(struct ap *ap)
{
	ap->value[1] = query_protocol_there(ap);
	ap->value[2] = alternate_there();
	ap->value[3] = write_there(ap, APIC_SELF_IPI, VECTOR);
	ap->value[0] = 1;
}

static void use_there(struct ap *ap)
{
	call_there(ap);
	serve_until_release();
}

static void is_served(void)
{
	if (!start_there(use_there))
		return;
	CHECK(comes_there(VECTOR, 1));
	let_pass();
	finish_there();
	CHECK(aps[THERE].value[1]);
	EQUAL(aps[THERE].value[2], true);
	EQUAL(aps[THERE].value[3], SVSM_SUCCESS);
	EQUAL(there[VECTOR], 1);
	EQUAL(here[VECTOR], 0);
}

static void register_there(struct ap *ap)
{
	ap->value[1] = configure_there(ap, SVSM_APIC_CONFIGURE_REGISTER);
	ap->value[2] = read_there(ap, APIC_ID);
	ap->value[0] = 1;
}

/* The registration has ended for the guest. */
static void cannot_register(void)
{
	if (!start_there(register_there) || !finish_there())
		return;
	EQUAL(aps[THERE].value[1], SVSM_APIC_ERR_CANNOT_REGISTER);
	EQUAL(aps[THERE].value[2], THERE);
}

static bool hypervisor_apic_there(struct ap *ap)
{
	return ap_msr_out(ap, MSR_APIC_BASE, MSR_MODES) &&
	       ap_msr_out(ap, X2(APIC_SPIV), APIC_SPIV_ENABLE | APIC_SPIV_VECTOR);
}

/* PENDING is in IRR at the end of the SVSM's APIC. */
static void end_there(struct ap *ap)
{
	ap->value[0] = 1;
	ap->value[1] = hypervisor_apic_there(ap);
	write_there(ap, APIC_SELF_IPI, PENDING);
	ap->value[2] = configure_there(ap, SVSM_APIC_CONFIGURE_QUERY);
	ended_there = true;
	ap->value[3] = ap_msr_in(ap, X2(APIC_IRR) + PENDING / 32) >> PENDING % 32 & 1;
	serve_until_release();
}

static void ends_by_query(void)
{
	if (!start_there(end_there))
		return;
	CHECK(comes_there(PENDING, 1));
	let_pass();
	if (!finish_there())
		return;
	EQUAL(aps[THERE].value[1], true);
	EQUAL(aps[THERE].value[2], SVSM_SUCCESS);
	EQUAL(aps[THERE].value[3], 1);
	EQUAL(there[PENDING], 1);
}

static void calls_refused(void)
{
	if (!start_there(call_there) || !finish_there())
		return;
	EQUAL(aps[THERE].value[1], 0);
	EQUAL(aps[THERE].value[2], false);
	EQUAL(aps[THERE].value[3], SVSM_ERR_UNSUPPORTED_PROTOCOL);
}

static void wait_there(struct ap *ap)
{
	ap->value[0] = 1;
	serve_until_release();
}

/* The last point with the other vCPU. */
static void hypervisor_ipi(void)
{
	if (start_there(wait_there)) {
		CHECK(msr_out(X2(APIC_ICR), TO(THERE) | VECTOR));
		CHECK(comes_there(VECTOR, 1));
		let_pass();
		finish_there();
		EQUAL(there[VECTOR], 1);
		EQUAL(here[VECTOR], 0);
	}
	there_destroy();
}

#define NEEDS (NEED_PROTOCOL | NEED_X2APIC | NEED_OTHER_VCPU | NEED_PROTOCOL_THERE)

static const struct point points[] = {
	{ "registration/other-vcpu-is-still-served", NEEDS, .run = is_served },
	{ "registration/other-vcpu-cannot-register", NEEDS, .run = cannot_register },
	{ "registration/other-vcpu-ends-by-query", NEEDS, .run = ends_by_query },
	{ "registration/other-vcpu-calls-refused", NEEDS, .run = calls_refused },
	{ "registration/other-vcpu-hypervisor-ipi", NEEDS, .run = hypervisor_ipi },
};

GROUP(registration_others_group, points, prepare);
