/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Interrupts between two vCPUs (COCONUT kernel/src/cpu/apic.rs, send_ipi, post_icr_interrupt). The other one runs only while
 * the groups other-vcpu do: the first point creates it, other_vcpu_again.c deletes it.
 */
#include "groups.h"
#include "cpu.h"
#include "ipi_destination.h"
#include "platform.h"
#include "svsm_apic.h"
#include "there.h"
#include "trap.h"

#define VECTOR  VECTOR_THERE
#define SAME    SAME_THERE
#define MANY    50
#define LOGICAL(ldr) (APIC_ICR_LOGICAL | TO(ldr))
#define NMI     ((u64)APIC_DELIVER_NMI << APIC_ICR_DELIVERY_SHIFT)

static void create(void)
{
	CHECK(other_runs);
	EQUAL(aps[THERE].started, 1);
}

static void query_there(struct ap *ap)
{
	ap->value[0] = 1;
	ap->value[1] = query_protocol_there(ap);
}

/* What an SVSM offers on its first vCPU, it offers on the others. */
static void query(void)
{
	if (!start_there(query_there) || !finish_there())
		return;
	platform.no_protocol_there = !aps[THERE].value[1];
	EQUAL(aps[THERE].value[1], query_protocol(SVSM_PROTOCOL_APIC, SVSM_APIC_VERSION_MIN));
}

static void id_and_ldr_there(struct ap *ap)
{
	ap->value[0] = 1;
	ap->value[1] = read_there(ap, APIC_ID);
	ap->value[2] = read_there(ap, APIC_LDR);
}

static void id_and_ldr(void)
{
	if (!start_there(id_and_ldr_there) || !finish_there())
		return;
	EQUAL(read_register(X2(APIC_ID)), HERE);
	EQUAL(aps[THERE].value[1], THERE);
	EQUAL(aps[THERE].value[2], x2apic_ldr(THERE));
}

/* A write of a register here, and how often the interrupt arrives here and there. */
struct sending {
	u32 reg;
	u64 value, here, there;
};

static const struct sending
	icr_id = { APIC_ICR, TO(THERE), 0, 1 },
	icr_logical_id = { APIC_ICR, LOGICAL(2), 0, 1 },
	icr_both_logical_ids = { APIC_ICR, LOGICAL(3), 1, 1 },
	icr_others = { APIC_ICR, APIC_SHORTHAND_OTHERS, 0, 1 },
	icr_all = { APIC_ICR, APIC_SHORTHAND_ALL, 1, 1 },
	icr_broadcast = { APIC_ICR, TO(APIC_BROADCAST), 1, 1 },
	icr_broadcast_logical = { APIC_ICR, LOGICAL(APIC_BROADCAST), 1, 1 },
	icr_self = { APIC_ICR, APIC_SHORTHAND_SELF | TO(THERE), 1, 0 },
	icr_own_id = { APIC_ICR, TO(HERE), 1, 0 },
	icr_own_logical_id = { APIC_ICR, LOGICAL(1), 1, 0 },
	icr_logical_id_of_another = { APIC_ICR, LOGICAL(4), 0, 0 },
	icr_other_cluster = { APIC_ICR, LOGICAL(0x10003), 0, 0 },
	self_ipi = { APIC_SELF_IPI, 0, 1, 0 };

static void check_arrivals(const struct sending *sending, u8 vector)
{
	if (sending->there)
		CHECK(comes_there(vector, sending->there));
	if (sending->here)
		CHECK(comes(&here[vector], sending->here));
	let_pass();
	if (!finish_there())
		return;
	EQUAL(here[vector], sending->here);
	EQUAL(there[vector], sending->there);
	EQUAL(aps[THERE].value[1], 0);
}

static void send(u64 argument)
{
	const struct sending *sending = (const struct sending *)argument;

	if (!start_there(take_there))
		return;
	EQUAL(write_register(X2(sending->reg), sending->value | VECTOR), SVSM_SUCCESS);
	check_arrivals(sending, VECTOR);
}

/* Interrupts are off on both. */
static void send_nmi(u64 argument)
{
	const struct sending *sending = (const struct sending *)argument;

	if (!start_there(hold_there))
		return;
	EQUAL(write_register(X2(sending->reg), sending->value | NMI), SVSM_SUCCESS);
	check_arrivals(sending, VECTOR_NMI);
}

/* An NMI has no vector: that of the ICR is ignored. */
static void nmi_vector(void)
{
	if (!start_there(hold_there))
		return;
	EQUAL(write_register(X2(APIC_ICR), TO(THERE) | NMI | VECTOR), SVSM_SUCCESS);
	check_arrivals(&icr_id, VECTOR_NMI);
	EQUAL(here[VECTOR] + there[VECTOR], 0);
	EQUAL(in_irr(VECTOR), 0);
}

static void if_0(void)
{
	if (!start_there(hold_there))
		return;
	EQUAL(write_register(X2(APIC_ICR), TO(THERE) | VECTOR), SVSM_SUCCESS);
	let_pass();
	EQUAL(in_irr(VECTOR), 0);
	if (!finish_there())
		return;
	EQUAL(aps[THERE].value[1], 1);
	EQUAL(there[VECTOR], 0);
	if (!start_there(take_there))
		return;
	CHECK(comes_there(VECTOR, 1));
	finish_there();
	EQUAL(there[VECTOR], 1);
	EQUAL(here[VECTOR], 0);
}

/* Until released, TPR has the class of VECTOR there. */
static void hold_by_tpr(struct ap *ap)
{
	ap->value[2] = write_there(ap, APIC_TPR, VECTOR & APIC_PRIORITY_CLASS);
	ap->value[0] = 1;
	serve_until_release();
	ap->value[1] = bit_there(ap, APIC_IRR, VECTOR);
	write_there(ap, APIC_TPR, 0);
}

static void tpr(void)
{
	if (!start_there(hold_by_tpr))
		return;
	EQUAL(aps[THERE].value[2], SVSM_SUCCESS);
	EQUAL(write_register(X2(APIC_ICR), TO(THERE) | VECTOR), SVSM_SUCCESS);
	let_pass();
	EQUAL(there[VECTOR], 0);
	if (!finish_there())
		return;
	EQUAL(aps[THERE].value[1], 1);
	if (!start_there(take_there))
		return;
	CHECK(comes_there(VECTOR, 1));
	finish_there();
	EQUAL(there[VECTOR], 1);
}

static void halt(struct ap *ap)
{
	ap->value[0] = 1;
	halt_once();
}

static void wakes_hlt(void)
{
	if (!start_there(halt))
		return;
	let_pass(); /* it is in HLT now */
	EQUAL(there[VECTOR], 0);
	EQUAL(write_register(X2(APIC_ICR), TO(THERE) | VECTOR), SVSM_SUCCESS);
	finish_there();
	EQUAL(there[VECTOR], 1);
	EQUAL(here[VECTOR], 0);
}

static void halt_with_interrupts_off(struct ap *ap)
{
	ap->value[0] = 1;
	__asm__ volatile("hlt" : : : "memory");
}

/* The first NMI may arrive before HLT. */
static void nmi_wakes_hlt(void)
{
	if (!start_there(halt_with_interrupts_off))
		return;
	let_pass();
	for (u32 round = 0; round < 10 && aps[THERE].command; round++) {
		EQUAL(write_register(X2(APIC_ICR), TO(THERE) | NMI), SVSM_SUCCESS);
		let_pass();
	}
	finish_there();
	CHECK(there[VECTOR_NMI]);
	EQUAL(here[VECTOR_NMI], 0);
}

/* Its handler left VECTOR in service; SAME waits. */
static void end_there(struct ap *ap)
{
	ap->value[0] = 1;
	serve_until_release();
	no_eoi_there = false;
	ap->value[1] = bit_there(ap, APIC_ISR, VECTOR) | bit_there(ap, APIC_IRR, SAME) << 1;
	ap->value[2] = write_there(ap, APIC_EOI, 0);
	ap->value[3] = bit_there(ap, APIC_ISR, VECTOR);
}

static void eoi(void)
{
	no_eoi_there = true;
	if (!start_there(end_there))
		return;
	write_register(X2(APIC_ICR), TO(THERE) | VECTOR);
	CHECK(comes_there(VECTOR, 1));
	write_register(X2(APIC_ICR), TO(THERE) | SAME);
	EQUAL(in_service(), 0);
	EQUAL(end_by_call(), SVSM_SUCCESS); /* ends nothing there */
	let_pass();
	EQUAL(there[SAME], 0);
	if (!finish_there())
		return;
	EQUAL(aps[THERE].value[1], 3);
	EQUAL(aps[THERE].value[2], SVSM_SUCCESS);
	EQUAL(aps[THERE].value[3], 0);
	if (!start_there(take_there))
		return;
	CHECK(comes_there(SAME, 1));
	finish_there();
	EQUAL(there[VECTOR], 1);
	EQUAL(there[SAME], 1);
}

static void many(void)
{
	if (!start_there(take_there))
		return;
	for (u64 sent = 1; sent <= MANY; sent++) {
		write_register(X2(APIC_ICR), TO(THERE) | VECTOR);
		if (!EQUAL_OF(sent, comes_there(VECTOR, sent), true))
			break;
	}
	let_pass();
	finish_there();
	EQUAL(there[VECTOR], MANY);
	EQUAL(here[VECTOR], 0);
}

/* What the other vCPU sends. */
static const struct sending
	from_there_id = { APIC_ICR, TO(HERE), 1, 0 },
	from_there_others = { APIC_ICR, APIC_SHORTHAND_OTHERS, 1, 0 },
	from_there_all = { APIC_ICR, APIC_SHORTHAND_ALL, 1, 1 },
	from_there_self = { APIC_ICR, APIC_SHORTHAND_SELF, 0, 1 };

static const struct sending *sent_there;

static void send_from_there(struct ap *ap)
{
	ap->value[2] = write_there(ap, sent_there->reg, sent_there->value | VECTOR);
	take_there(ap);
}

static void from_there(u64 argument)
{
	sent_there = (const struct sending *)argument;
	if (!start_there(send_from_there))
		return;
	check_arrivals(sent_there, VECTOR);
	EQUAL(aps[THERE].value[2], SVSM_SUCCESS);
}

#define NEEDS       (NEED_PROTOCOL | NEED_OTHER_VCPU)
#define NEEDS_THERE (NEEDS | NEED_PROTOCOL_THERE)

static const struct point points[] = {
	{ "other-vcpu/create", NEEDS, .run = create },
	{ "other-vcpu/query-protocol", NEEDS, .run = query },
	{ "other-vcpu/id-and-ldr", NEEDS_THERE, .run = id_and_ldr },
	{ "other-vcpu/icr-id", NEEDS_THERE, .run_with = send, (u64)&icr_id },
	{ "other-vcpu/icr-logical-id", NEEDS_THERE, .run_with = send, (u64)&icr_logical_id },
	{ "other-vcpu/icr-both-logical-ids", NEEDS_THERE, .run_with = send, (u64)&icr_both_logical_ids },
	{ "other-vcpu/icr-others", NEEDS_THERE, .run_with = send, (u64)&icr_others },
	{ "other-vcpu/icr-all", NEEDS_THERE, .run_with = send, (u64)&icr_all },
	{ "other-vcpu/icr-broadcast", NEEDS_THERE, .run_with = send, (u64)&icr_broadcast },
	{ "other-vcpu/icr-broadcast-logical", NEEDS_THERE, .run_with = send, (u64)&icr_broadcast_logical },
	{ "other-vcpu/icr-self", NEEDS_THERE, .run_with = send, (u64)&icr_self },
	{ "other-vcpu/icr-own-id", NEEDS_THERE, .run_with = send, (u64)&icr_own_id },
	{ "other-vcpu/icr-own-logical-id", NEEDS_THERE, .run_with = send, (u64)&icr_own_logical_id },
	{ "other-vcpu/icr-logical-id-of-another", NEEDS_THERE, .run_with = send, (u64)&icr_logical_id_of_another },
	{ "other-vcpu/icr-other-cluster", NEEDS_THERE, .run_with = send, (u64)&icr_other_cluster },
	{ "other-vcpu/self-ipi", NEEDS_THERE, .run_with = send, (u64)&self_ipi },
	{ "other-vcpu/nmi-id", NEEDS_THERE, .run_with = send_nmi, (u64)&icr_id },
	{ "other-vcpu/nmi-logical-id", NEEDS_THERE, .run_with = send_nmi, (u64)&icr_logical_id },
	{ "other-vcpu/nmi-others", NEEDS_THERE, .run_with = send_nmi, (u64)&icr_others },
	{ "other-vcpu/nmi-all", NEEDS_THERE, .run_with = send_nmi, (u64)&icr_all },
	{ "other-vcpu/nmi-broadcast", NEEDS_THERE, .run_with = send_nmi, (u64)&icr_broadcast },
	{ "other-vcpu/nmi-self", NEEDS_THERE, .run_with = send_nmi, (u64)&icr_self },
	{ "other-vcpu/nmi-own-logical-id", NEEDS_THERE, .run_with = send_nmi, (u64)&icr_own_logical_id },
	{ "other-vcpu/nmi-vector-ignored", NEEDS_THERE, .run = nmi_vector },
	{ "other-vcpu/nmi-wakes-hlt", NEEDS_THERE, .run = nmi_wakes_hlt },
	{ "other-vcpu/if-0-holds-back", NEEDS_THERE, .run = if_0 },
	{ "other-vcpu/tpr-holds-back", NEEDS_THERE, .run = tpr },
	{ "other-vcpu/wakes-hlt", NEEDS_THERE, .run = wakes_hlt },
	{ "other-vcpu/eoi", NEEDS_THERE, .run = eoi },
	{ "other-vcpu/many-in-a-row", NEEDS_THERE, .run = many },
	{ "other-vcpu/sends-to-id", NEEDS_THERE, .run_with = from_there, (u64)&from_there_id },
	{ "other-vcpu/sends-to-others", NEEDS_THERE, .run_with = from_there, (u64)&from_there_others },
	{ "other-vcpu/sends-to-all", NEEDS_THERE, .run_with = from_there, (u64)&from_there_all },
	{ "other-vcpu/sends-to-itself", NEEDS_THERE, .run_with = from_there, (u64)&from_there_self },
};

GROUP(other_vcpu_group, points, there_prepare);
