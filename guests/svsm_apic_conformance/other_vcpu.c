/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Interrupts between two vCPUs (COCONUT kernel/src/cpu/apic.rs, send_ipi, post_icr_interrupt). The other one runs only while
 * this group does: the first point creates it, the last one deletes it.
 */
#include "groups.h"
#include "ap.h"
#include "clock.h"
#include "cpu.h"
#include "ghcb.h"
#include "ipi_destination.h"
#include "platform.h"
#include "svsm_apic.h"
#include "trap.h"

#define HERE    0u /* APIC IDs */
#define THERE   1u
#define VECTOR  0x61
#define SAME    0x62 /* of the same class */
#define TO(id)  ((u64)(id) << APIC_ICR_DESTINATION_SHIFT)
#define LOGICAL(ldr) (APIC_ICR_LOGICAL | TO(ldr))
#define NMI     ((u64)APIC_DELIVER_NMI << APIC_ICR_DELIVERY_SHIFT)
#define PATIENCE_THERE_MS 200
#define LONGEST_STEP_US   1000 /* of the loop that waits */
#define DRAIN_ROUNDS   8  /* more than the interrupts that a point leaves there */
#define MANY           50

static volatile u64 here[256], there[256]; /* interrupts handled so far */
static volatile bool runs;     /* it answers */
static volatile bool released; /* it may end its command */
static volatile bool no_eoi_there;

static u64 write_there(struct ap *ap, u32 reg, u64 value)
{
	return ap_svsm_call(ap, SVSM_CALL(SVSM_PROTOCOL_APIC, SVSM_APIC_WRITE_REGISTER), X2(reg), value).rax;
}

static u64 read_there(struct ap *ap, u32 reg)
{
	struct svsm_reply reply = ap_svsm_call(ap, SVSM_CALL(SVSM_PROTOCOL_APIC, SVSM_APIC_READ_REGISTER), X2(reg), 0);

	return reply.rax == SVSM_SUCCESS ? reply.rdx : ~0ull;
}

static u64 bit_there(struct ap *ap, u32 bank, u8 vector)
{
	return read_there(ap, bank + vector / 32 * 16) >> vector % 32 & 1;
}

static void count(u8 vector)
{
	if (ap_self() == HERE) {
		here[vector]++;
		end_interrupt(vector);
		return;
	}
	there[vector]++;
	if (vector != VECTOR_NMI && !no_eoi_there)
		write_there(&aps[THERE], APIC_EOI, 0);
}

static bool comes_there(u8 vector, u64 target)
{
	struct stopwatch watch = stopwatch_start(LONGEST_STEP_US);

	while (there[vector] < target && stopwatch_passed(&watch) < clock_ticks(PATIENCE_THERE_MS * 1000))
		pause();
	return there[vector] >= target;
}

static void drain(struct ap *ap)
{
	write_there(ap, APIC_TPR, 0);
	for (u32 round = 0; round < DRAIN_ROUNDS; round++) {
		write_there(ap, APIC_EOI, 0);
		sti();
		pause();
		cli();
	}
}

static void destroy(void)
{
	ap_creation(NAE_AP_DESTROY, THERE);
	ap_unmake_vmsa(THERE);
	aps[THERE].started = 0;
	runs = false;
}

/* One that did not end its command is made again, so that it makes no other point fail. */
static void prepare(void)
{
	svsm_apic_prepare();
	on_interrupt = count;
	no_eoi_there = false;
	if (aps[THERE].started && !runs)
		destroy();
	runs = aps[THERE].started || ap_start(THERE);
	runs = runs && ap_run(THERE, drain);
	for (u32 vector = 0; vector < 256; vector++)
		here[vector] = there[vector] = 0;
}

static bool start(void (*command)(struct ap *ap))
{
	if (!CHECK(runs))
		return false;
	released = false;
	aps[THERE].value[0] = 0;
	ap_command(THERE, command);
	while (!aps[THERE].value[0] && !tap_time_is_up())
		pause();
	return true;
}

static bool finish(void)
{
	released = true;
	runs = ap_wait(THERE);
	return CHECK(runs);
}

static void wait_for_release(void)
{
	while (!released)
		pause();
}

/*
 * value[1]: VECTOR is in ISR or IRR. After the first call, the second one also shows what was sent without a request to the
 * hypervisor.
 */
static void note_pending(struct ap *ap)
{
	ap->value[1] = bit_there(ap, APIC_ISR, VECTOR);
	ap->value[1] |= bit_there(ap, APIC_IRR, VECTOR);
}

/* Interrupts are on there. */
static void take(struct ap *ap)
{
	ap->value[0] = 1;
	sti();
	wait_for_release();
	cli();
	note_pending(ap);
}

/* Interrupts are off there. */
static void hold(struct ap *ap)
{
	ap->value[0] = 1;
	wait_for_release();
	note_pending(ap);
}

static void id_and_ldr(struct ap *ap)
{
	ap->value[0] = 1;
	ap->value[1] = read_there(ap, APIC_ID);
	ap->value[2] = read_there(ap, APIC_LDR);
}

static void create(void)
{
	CHECK(runs);
	EQUAL(aps[THERE].started, 1);
	if (!start(id_and_ldr) || !finish())
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
	if (!finish())
		return;
	EQUAL(here[vector], sending->here);
	EQUAL(there[vector], sending->there);
	EQUAL(aps[THERE].value[1], 0);
}

static void send(u64 argument)
{
	const struct sending *sending = (const struct sending *)argument;

	if (!start(take))
		return;
	EQUAL(write_register(X2(sending->reg), sending->value | VECTOR), SVSM_SUCCESS);
	check_arrivals(sending, VECTOR);
}

/* Interrupts are off on both. */
static void send_nmi(u64 argument)
{
	const struct sending *sending = (const struct sending *)argument;

	if (!start(hold))
		return;
	EQUAL(write_register(X2(sending->reg), sending->value | NMI), SVSM_SUCCESS);
	check_arrivals(sending, VECTOR_NMI);
}

/* An NMI has no vector: that of the ICR is ignored. */
static void nmi_vector(void)
{
	if (!start(hold))
		return;
	EQUAL(write_register(X2(APIC_ICR), TO(THERE) | NMI | VECTOR), SVSM_SUCCESS);
	check_arrivals(&icr_id, VECTOR_NMI);
	EQUAL(here[VECTOR] + there[VECTOR], 0);
	EQUAL(in_irr(VECTOR), 0);
}

static void if_0(void)
{
	if (!start(hold))
		return;
	EQUAL(write_register(X2(APIC_ICR), TO(THERE) | VECTOR), SVSM_SUCCESS);
	let_pass();
	EQUAL(in_irr(VECTOR), 0);
	if (!finish())
		return;
	EQUAL(aps[THERE].value[1], 1);
	EQUAL(there[VECTOR], 0);
	if (!start(take))
		return;
	CHECK(comes_there(VECTOR, 1));
	finish();
	EQUAL(there[VECTOR], 1);
	EQUAL(here[VECTOR], 0);
}

/* Until released, TPR has the class of VECTOR there. */
static void hold_by_tpr(struct ap *ap)
{
	ap->value[2] = write_there(ap, APIC_TPR, VECTOR & APIC_PRIORITY_CLASS);
	ap->value[0] = 1;
	sti();
	wait_for_release();
	cli();
	ap->value[1] = bit_there(ap, APIC_IRR, VECTOR);
	write_there(ap, APIC_TPR, 0);
}

static void tpr(void)
{
	if (!start(hold_by_tpr))
		return;
	EQUAL(aps[THERE].value[2], SVSM_SUCCESS);
	EQUAL(write_register(X2(APIC_ICR), TO(THERE) | VECTOR), SVSM_SUCCESS);
	let_pass();
	EQUAL(there[VECTOR], 0);
	if (!finish())
		return;
	EQUAL(aps[THERE].value[1], 1);
	if (!start(take))
		return;
	CHECK(comes_there(VECTOR, 1));
	finish();
	EQUAL(there[VECTOR], 1);
}

static void halt(struct ap *ap)
{
	ap->value[0] = 1;
	halt_once();
}

static void wakes_hlt(void)
{
	if (!start(halt))
		return;
	let_pass(); /* it is in HLT now */
	EQUAL(there[VECTOR], 0);
	EQUAL(write_register(X2(APIC_ICR), TO(THERE) | VECTOR), SVSM_SUCCESS);
	finish();
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
	if (!start(halt_with_interrupts_off))
		return;
	let_pass();
	for (u32 round = 0; round < 10 && aps[THERE].command; round++) {
		EQUAL(write_register(X2(APIC_ICR), TO(THERE) | NMI), SVSM_SUCCESS);
		let_pass();
	}
	finish();
	CHECK(there[VECTOR_NMI]);
	EQUAL(here[VECTOR_NMI], 0);
}

/* Its handler left VECTOR in service; SAME waits. */
static void end_there(struct ap *ap)
{
	ap->value[0] = 1;
	sti();
	wait_for_release();
	cli();
	no_eoi_there = false;
	ap->value[1] = bit_there(ap, APIC_ISR, VECTOR) | bit_there(ap, APIC_IRR, SAME) << 1;
	ap->value[2] = write_there(ap, APIC_EOI, 0);
	ap->value[3] = bit_there(ap, APIC_ISR, VECTOR);
}

static void eoi(void)
{
	no_eoi_there = true;
	if (!start(end_there))
		return;
	write_register(X2(APIC_ICR), TO(THERE) | VECTOR);
	CHECK(comes_there(VECTOR, 1));
	write_register(X2(APIC_ICR), TO(THERE) | SAME);
	EQUAL(in_service(), 0);
	EQUAL(end_by_call(), SVSM_SUCCESS); /* ends nothing there */
	let_pass();
	EQUAL(there[SAME], 0);
	if (!finish())
		return;
	EQUAL(aps[THERE].value[1], 3);
	EQUAL(aps[THERE].value[2], SVSM_SUCCESS);
	EQUAL(aps[THERE].value[3], 0);
	if (!start(take))
		return;
	CHECK(comes_there(SAME, 1));
	finish();
	EQUAL(there[VECTOR], 1);
	EQUAL(there[SAME], 1);
}

static void many(void)
{
	if (!start(take))
		return;
	for (u64 sent = 1; sent <= MANY; sent++) {
		write_register(X2(APIC_ICR), TO(THERE) | VECTOR);
		if (!EQUAL_OF(sent, comes_there(VECTOR, sent), true))
			break;
	}
	let_pass();
	finish();
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
	take(ap);
}

static void from_there(u64 argument)
{
	sent_there = (const struct sending *)argument;
	if (!start(send_from_there))
		return;
	check_arrivals(sent_there, VECTOR);
	EQUAL(aps[THERE].value[2], SVSM_SUCCESS);
}

static void delete(void)
{
	if (!CHECK(runs))
		return;
	EQUAL(ap_creation(NAE_AP_DESTROY, THERE), NAE_RESULT_OK);
	CHECK(!ap_is_running(THERE));
	CHECK(ap_unmake_vmsa(THERE));
}

#define NEEDS (NEED_PROTOCOL | NEED_OTHER_VCPU)

static const struct point points[] = {
	{ "other-vcpu/create", NEEDS, .run = create },
	{ "other-vcpu/icr-id", NEEDS, .run_with = send, (u64)&icr_id },
	{ "other-vcpu/icr-logical-id", NEEDS, .run_with = send, (u64)&icr_logical_id },
	{ "other-vcpu/icr-both-logical-ids", NEEDS, .run_with = send, (u64)&icr_both_logical_ids },
	{ "other-vcpu/icr-others", NEEDS, .run_with = send, (u64)&icr_others },
	{ "other-vcpu/icr-all", NEEDS, .run_with = send, (u64)&icr_all },
	{ "other-vcpu/icr-broadcast", NEEDS, .run_with = send, (u64)&icr_broadcast },
	{ "other-vcpu/icr-broadcast-logical", NEEDS, .run_with = send, (u64)&icr_broadcast_logical },
	{ "other-vcpu/icr-self", NEEDS, .run_with = send, (u64)&icr_self },
	{ "other-vcpu/icr-own-id", NEEDS, .run_with = send, (u64)&icr_own_id },
	{ "other-vcpu/icr-own-logical-id", NEEDS, .run_with = send, (u64)&icr_own_logical_id },
	{ "other-vcpu/icr-logical-id-of-another", NEEDS, .run_with = send, (u64)&icr_logical_id_of_another },
	{ "other-vcpu/icr-other-cluster", NEEDS, .run_with = send, (u64)&icr_other_cluster },
	{ "other-vcpu/self-ipi", NEEDS, .run_with = send, (u64)&self_ipi },
	{ "other-vcpu/nmi-id", NEEDS, .run_with = send_nmi, (u64)&icr_id },
	{ "other-vcpu/nmi-logical-id", NEEDS, .run_with = send_nmi, (u64)&icr_logical_id },
	{ "other-vcpu/nmi-others", NEEDS, .run_with = send_nmi, (u64)&icr_others },
	{ "other-vcpu/nmi-all", NEEDS, .run_with = send_nmi, (u64)&icr_all },
	{ "other-vcpu/nmi-broadcast", NEEDS, .run_with = send_nmi, (u64)&icr_broadcast },
	{ "other-vcpu/nmi-self", NEEDS, .run_with = send_nmi, (u64)&icr_self },
	{ "other-vcpu/nmi-own-logical-id", NEEDS, .run_with = send_nmi, (u64)&icr_own_logical_id },
	{ "other-vcpu/nmi-vector-ignored", NEEDS, .run = nmi_vector },
	{ "other-vcpu/nmi-wakes-hlt", NEEDS, .run = nmi_wakes_hlt },
	{ "other-vcpu/if-0-holds-back", NEEDS, .run = if_0 },
	{ "other-vcpu/tpr-holds-back", NEEDS, .run = tpr },
	{ "other-vcpu/wakes-hlt", NEEDS, .run = wakes_hlt },
	{ "other-vcpu/eoi", NEEDS, .run = eoi },
	{ "other-vcpu/many-in-a-row", NEEDS, .run = many },
	{ "other-vcpu/sends-to-id", NEEDS, .run_with = from_there, (u64)&from_there_id },
	{ "other-vcpu/sends-to-others", NEEDS, .run_with = from_there, (u64)&from_there_others },
	{ "other-vcpu/sends-to-all", NEEDS, .run_with = from_there, (u64)&from_there_all },
	{ "other-vcpu/sends-to-itself", NEEDS, .run_with = from_there, (u64)&from_there_self },
	{ "other-vcpu/delete", NEEDS, .run = delete },
};

GROUP(other_vcpu_group, points, prepare);
