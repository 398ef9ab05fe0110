/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Restricted injection: VMPL0 gets only #HV, and reads pending events from its doorbell page: its own vector,
 * and the interrupts of lower VMPLs with Alternate Injection (ghcb.h; COCONUT kernel/src/sev/hv_doorbell.rs).
 *
 * The page is accessed only while its vCPU is in the emulator, so accesses need not be atomic.
 */
#include "doorbell.h"
#include "memory.h"
#include "vectors.h"

static u8 *page(struct vcpu *vcpu)
{
	struct doorbell *doorbell = &vcpu->doorbell;

	if (doorbell->gpa == NO_GPA)
		return NULL;
	if (doorbell->generation != vcpu->hv->generation) {
		doorbell->page = memory_shared(vcpu->hv, doorbell->gpa, PAGE_SIZE);
		doorbell->generation = vcpu->hv->generation;
	}
	return doorbell->page;
}

static volatile u8 *field(u8 *at, u32 offset) { return (volatile u8 *)at + offset; }

bool doorbell_set(struct vcpu *vcpu, u64 gpa)
{
	if (gpa != NO_GPA && ((gpa & (PAGE_SIZE - 1)) || !memory_shared(vcpu->hv, gpa, PAGE_SIZE)))
		return false;
	vcpu->doorbell.gpa = gpa;
	vcpu->doorbell.generation = vcpu->hv->generation - 1; /* invalid until the next use */
	vcpu->doorbell.signal = false;
	vcpu->apic_dirty = true;
	return true;
}

/* Signal VMPL0 after a change of the page, unless it was signalled before and has not read the page yet. */
static void signal(struct vcpu *vcpu, u8 *at)
{
	if (*field(at, GHCB_DOORBELL_FLAGS) & GHCB_DOORBELL_FLAG_NO_FURTHER_SIGNAL)
		return;
	*field(at, GHCB_DOORBELL_FLAGS) |= GHCB_DOORBELL_FLAG_NO_FURTHER_SIGNAL;
	vcpu->doorbell.signal = true;
}

/* A vector for VMPL0 itself; the hypervisor never waits for its EOI. */
static bool offer_own(u8 *at, u8 vector)
{
	if (*field(at, GHCB_DOORBELL_VECTOR))
		return false;
	*field(at, GHCB_DOORBELL_NO_EOI) = 1;
	*field(at, GHCB_DOORBELL_VECTOR) = vector;
	return true;
}

void doorbell_flush(struct vcpu *vcpu)
{
	struct vapic *apic = &vcpu->apic[0];
	u8 *at = page(vcpu);
	int vector;

	while ((vector = vapic_request_below(apic, VECTOR_END)) >= 0) {
		vapic_withdraw(apic, (u8)vector);
		vector_set(vcpu->doorbell.own, (u32)vector);
	}
	vector = vector_highest(vcpu->doorbell.own);
	if (at && vector >= 0 && offer_own(at, (u8)vector)) {
		vector_clear(vcpu->doorbell.own, (u32)vector);
		signal(vcpu, at);
	}
}

void doorbell_post_own(struct vcpu *vcpu, u8 vector)
{
	vector_set(vcpu->doorbell.own, vector);
	vcpu->apic_dirty = true;
}

volatile struct ghcb_doorbell_vmpl *doorbell_entry(struct vcpu *vcpu, u32 vmpl)
{
	u8 *at = page(vcpu);

	return at ? (volatile struct ghcb_doorbell_vmpl *)(at + GHCB_DOORBELL_VMPL_FIRST) + (vmpl - 1) : NULL;
}

static void set_edge(volatile struct ghcb_doorbell_vmpl *entry, u8 vector)
{
	if (vector == GHCB_DOORBELL_FIRST_VECTOR)
		entry->status |= GHCB_DOORBELL_STATUS_VECTOR31;
	else if (vector > GHCB_DOORBELL_FIRST_VECTOR)
		entry->irr[vector_word(vector) - 1] |= vector_mask(vector);
	entry->status |= GHCB_DOORBELL_STATUS_MULTIPLE;
}

/* The field for a single vector is free for a level-triggered one if its vector can move to irr[]. */
static bool post_level(volatile struct ghcb_doorbell_vmpl *entry, u8 vector)
{
	u8 pending = entry->status & GHCB_DOORBELL_STATUS_VECTOR;

	if (entry->status & GHCB_DOORBELL_STATUS_LEVEL)
		return false;
	if (pending) {
		entry->status &= ~GHCB_DOORBELL_STATUS_VECTOR;
		set_edge(entry, pending);
	}
	entry->status |= GHCB_DOORBELL_STATUS_LEVEL | vector;
	return true;
}

static void post_edge(volatile struct ghcb_doorbell_vmpl *entry, u8 vector)
{
	u32 status = entry->status;
	u8 pending = status & GHCB_DOORBELL_STATUS_VECTOR;

	if (pending == vector && !(status & GHCB_DOORBELL_STATUS_LEVEL))
		return;
	if (!pending && !(status & GHCB_DOORBELL_STATUS_MULTIPLE)) {
		entry->status = status | vector;
		return;
	}
	if (pending && !(status & GHCB_DOORBELL_STATUS_LEVEL)) {
		entry->status = status & ~GHCB_DOORBELL_STATUS_VECTOR;
		set_edge(entry, pending);
	}
	set_edge(entry, vector);
}

static void announce(struct vcpu *vcpu, u8 *at, u32 vmpl)
{
	*field(at, GHCB_DOORBELL_VMPL_EVENTS) |= (u8)(1 << (vmpl - 1));
	if (vcpu->doorbell.injection_vector)
		offer_own(at, vcpu->doorbell.injection_vector);
	signal(vcpu, at);
}

/* Vectors below 31 have no place in the page: they are dropped, as no guest can allow them. */
bool doorbell_post(struct vcpu *vcpu, u32 vmpl, u8 vector, bool level)
{
	volatile struct ghcb_doorbell_vmpl *entry = doorbell_entry(vcpu, vmpl);

	if (!entry)
		return false;
	if (vector < GHCB_DOORBELL_FIRST_VECTOR)
		return true;
	if (!level)
		post_edge(entry, vector);
	else if (!post_level(entry, vector))
		return false;
	announce(vcpu, vcpu->doorbell.page, vmpl);
	return true;
}

void doorbell_post_nmi(struct vcpu *vcpu, u32 vmpl)
{
	volatile struct ghcb_doorbell_vmpl *entry = doorbell_entry(vcpu, vmpl);

	if (!entry)
		return;
	entry->status |= GHCB_DOORBELL_STATUS_NMI;
	announce(vcpu, vcpu->doorbell.page, vmpl);
}

void doorbell_before_entry(struct vcpu *vcpu)
{
	if (!vcpu->doorbell.signal || hw_event_pending(vcpu->cpu))
		return;
	hw_inject(vcpu->cpu, SVM_EVENT_VALID | SVM_EVENT_EXCEPTION | SEV_VECTOR_HV);
	vcpu->doorbell.signal = false;
}
