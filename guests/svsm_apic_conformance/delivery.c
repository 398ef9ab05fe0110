/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Interrupts that the guest sends to itself; any vector is allowed (COCONUT kernel/src/cpu/apic.rs, send_ipi). */
#include "groups.h"
#include "cpu.h"
#include "layout.h"
#include "platform.h"
#include "svsm_apic.h"
#include "trap.h"
#include "vmgexit.h"

#define VECTOR        0x61
#define FIRST_VECTOR  32  /* lower vectors belong to exceptions */
#define NOBODY        0x0000BEEFull /* an APIC ID that no machine has; also not a logical ID of this CPU's cluster */

static u64 own_id(void) { return read_register(X2(APIC_ID)); }
static u64 own_ldr(void) { return read_register(X2(APIC_LDR)); }
static u64 to(u64 destination) { return destination << APIC_ICR_DESTINATION_SHIFT | VECTOR; }

static void arrives_once(void)
{
	CHECK(comes(&interrupts[VECTOR], 1));
	let_pass();
	EQUAL(interrupts[VECTOR], 1);
}

static void self_ipi(void)
{
	EQUAL(write_register(X2(APIC_SELF_IPI), VECTOR), SVSM_SUCCESS);
	arrives_once();
}

enum target { SELF, ALL, OWN_ID, OWN_LDR, BROADCAST, BROADCAST_LOGICAL, OTHERS, OTHER_ID, OTHER_LDR, OTHER_CLUSTER };

static u64 icr_to(enum target target)
{
	switch (target) {
	case SELF: return APIC_SHORTHAND_SELF | to(0);
	case ALL: return APIC_SHORTHAND_ALL | to(0);
	case OWN_ID: return to(own_id());
	case OWN_LDR: return APIC_ICR_LOGICAL | to(own_ldr());
	case BROADCAST: return to(APIC_BROADCAST);
	case BROADCAST_LOGICAL: return APIC_ICR_LOGICAL | to(APIC_BROADCAST);
	case OTHERS: return APIC_SHORTHAND_OTHERS | to(0);
	case OTHER_ID: return to(NOBODY);
	case OTHER_LDR: return APIC_ICR_LOGICAL | to(own_ldr() ^ 0xFFFF);
	default: return APIC_ICR_LOGICAL | to(NOBODY << 16 | 0xFFFF);
	}
}

static void icr_arrives(u64 target)
{
	EQUAL(write_register(X2(APIC_ICR), icr_to((enum target)target)), SVSM_SUCCESS);
	arrives_once();
}

static void icr_passes_by(u64 target)
{
	EQUAL(write_register(X2(APIC_ICR), icr_to((enum target)target)), SVSM_SUCCESS);
	let_pass();
	EQUAL(interrupts[VECTOR], 0);
	EQUAL(in_irr(VECTOR), 0);
}

static void every_vector(void)
{
	for (u32 vector = FIRST_VECTOR; vector < 256; vector++) {
		send_self((u8)vector);
		if (!CHECK(comes(&interrupts[vector], 1)))
			return;
		EQUAL_OF(vector, interrupts[vector], 1);
	}
	for (u32 vector = FIRST_VECTOR; vector < 256; vector++)
		EQUAL_OF(vector, interrupts[vector], 1);
}

/* Interrupts are on at the call: each is delivered before the next instruction or soon after it. */
static void many(void)
{
	for (u64 sent = 1; sent <= 200; sent++) {
		__asm__ volatile("sti");
		send_self(VECTOR);
		if (!EQUAL_OF(sent, comes(&interrupts[VECTOR], sent), true))
			return;
	}
	let_pass();
	EQUAL(interrupts[VECTOR], 200);
}

static void allowed_set_is_not_theirs(void)
{
	EQUAL(configure_vector(VECTOR), SVSM_SUCCESS); /* the vector is not allowed */
	send_self(VECTOR);
	arrives_once();
}

#define STACKS      32
#define FEW_STACKS  8
#define SOFTWARE    0x70 /* of INT n */
#define VECTOR_BP   3

static u64 stack_top = LARGE_AREA + PAGE_SIZE; /* of the last stack that was used */

/*
 * Memory that the hypervisor has mapped as one page of 2 MiB. As one of its pages becomes shared, the others are not mapped
 * until they are accessed (KVM, kvm_arch_pre_set_memory_attributes).
 */
static bool unmap_stacks(void)
{
	if (stack_top > LARGE_AREA + PAGE_SIZE)
		return true; /* of its pages, those that were not used are not mapped */
	for (u64 page = LARGE_AREA; page < LARGE_AREA + PAGE_SIZE_2M; page += PAGE_SIZE) {
		if (!make_private(page))
			return false;
	}
	*(volatile u8 *)LARGE_AREA = 0;
	return svsm_pvalidate(LARGE_AREA) == SVSM_SUCCESS && make_shared(LARGE_AREA);
}

static void next_stack(void) { traps_set_ist1(stack_top += PAGE_SIZE); }

/*
 * The delivery reaches a stack that is not mapped. After that exit the VMSA has the event in EXITINTINFO and BUSY set, and
 * the SVSM has to inject it again (APM vol. 2, 15.36.16). Half of the interrupts are queued in the VMSA, half injected.
 */
static void cut_short(void)
{
	CHECK(unmap_stacks());
	trap_set_ist(VECTOR, 1);
	for (u64 sent = 1; sent <= STACKS; sent++) {
		next_stack();
		if (sent & 1)
			sti();
		send_self(VECTOR);
		if (!EQUAL_OF(sent, comes(&interrupts[VECTOR], sent), true))
			break;
	}
	let_pass();
	trap_set_ist(VECTOR, 0);
	traps_set_ist1(IST_TOP);
	EQUAL(interrupts[VECTOR], STACKS);
}

/* The same of other events. They have no EOI. */
static void events_cut_short(u8 vector, void (*raise)(void))
{
	CHECK(unmap_stacks());
	trap_as_interrupt(vector, true);
	trap_set_ist(vector, 1);
	on_interrupt = NULL;
	for (u64 raised = 1; raised <= FEW_STACKS; raised++) {
		next_stack();
		raise();
		let_pass();
		if (!EQUAL_OF(raised, interrupts[vector], raised))
			break;
	}
	trap_as_interrupt(vector, vector >= FIRST_VECTOR || vector == VECTOR_NMI);
	traps_set_ist1(IST_TOP);
	EQUAL(in_service(), 0);
}

static void raise_nmi(void)
{
	write_register(X2(APIC_ICR), APIC_SHORTHAND_SELF | APIC_DELIVER_NMI << APIC_ICR_DELIVERY_SHIFT);
}

/* The instruction raises its event again: the SVSM must not inject it, too. */
static void raise_software(void) { __asm__ volatile("int %0" : : "i"(SOFTWARE) : "memory"); }
static void raise_breakpoint(void) { __asm__ volatile("int3" : : : "memory"); }

static void nmi_cut_short(void) { events_cut_short(VECTOR_NMI, raise_nmi); }
static void software_cut_short(void) { events_cut_short(SOFTWARE, raise_software); }
static void breakpoint_cut_short(void) { events_cut_short(VECTOR_BP, raise_breakpoint); }

static const struct point points[] = {
	{ "delivery/self-ipi", NEED_PROTOCOL, .run = self_ipi },
	{ "delivery/icr-self", NEED_PROTOCOL, .run_with = icr_arrives, SELF },
	{ "delivery/icr-all", NEED_PROTOCOL, .run_with = icr_arrives, ALL },
	{ "delivery/icr-own-id", NEED_PROTOCOL, .run_with = icr_arrives, OWN_ID },
	{ "delivery/icr-own-logical-id", NEED_PROTOCOL, .run_with = icr_arrives, OWN_LDR },
	{ "delivery/icr-broadcast", NEED_PROTOCOL, .run_with = icr_arrives, BROADCAST },
	{ "delivery/icr-broadcast-logical", NEED_PROTOCOL, .run_with = icr_arrives, BROADCAST_LOGICAL },
	{ "delivery/icr-others-is-not-self", NEED_PROTOCOL, .run_with = icr_passes_by, OTHERS },
	{ "delivery/icr-other-id", NEED_PROTOCOL, .run_with = icr_passes_by, OTHER_ID },
	{ "delivery/icr-other-logical-id", NEED_PROTOCOL, .run_with = icr_passes_by, OTHER_LDR },
	{ "delivery/icr-other-cluster", NEED_PROTOCOL, .run_with = icr_passes_by, OTHER_CLUSTER },
	{ "delivery/every-vector", NEED_PROTOCOL, .run = every_vector },
	{ "delivery/many-in-a-row", NEED_PROTOCOL, .run = many },
	{ "delivery/cut-short", NEED_PROTOCOL, .run = cut_short },
	{ "delivery/cut-short-nmi", NEED_PROTOCOL, .run = nmi_cut_short },
	{ "delivery/cut-short-int-n", NEED_PROTOCOL, .run = software_cut_short },
	{ "delivery/cut-short-int3", NEED_PROTOCOL, .run = breakpoint_cut_short },
	{ "delivery/vector-need-not-be-allowed", NEED_PROTOCOL, .run = allowed_set_is_not_theirs },
};

GROUP(delivery_group, points, svsm_apic_prepare);
