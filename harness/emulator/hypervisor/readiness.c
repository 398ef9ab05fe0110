/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "readiness.h"
#include "alternate.h"
#include "doorbell.h"
#include "timer.h"
#include "vmpl.h"

/* The first part of a slice, and how many there are at most, each twice as long as the one before: 1.55 ms. */
#define PART_NS 50000ull
#define PARTS   5

bool readiness_signalled(struct vcpu *vcpu)
{
	if (!has_doorbell(vcpu))
		return false;
	if (has_alternate_guest(vcpu))
		alternate_post(vcpu);
	doorbell_flush(vcpu);
	return vcpu->doorbell.signal;
}

/* A vCPU in HLT has a reason to continue. */
static bool wakes(struct vcpu *vcpu)
{
	bool enabled = hw_interrupts_enabled(vcpu->cpu);

	timer_run(vcpu);
	if (hw_event_pending(vcpu->cpu)) /* the #DB of a single step over HLT */
		return true;
	if (current(vcpu)->alternate && hw_alternate_can_take(vcpu->cpu))
		return true;
	if (readiness_signalled(vcpu))
		return true;
	if (!is_guest(vcpu))
		return vcpu->vmsa_came;
	if (current(vcpu)->alternate)
		return false;
	return (vcpu->nmi_pending && !vcpu->nmi_blocking) ||
	       (enabled && (vapic_pending(guest_apic(vcpu)) >= 0 || vcpu->extint >= 0 || vcpu->pic_waiting));
}

/* A wait of another kind ends when its event sets WAIT_NOTHING. */
bool readiness_of(struct vcpu *vcpu)
{
	if (vcpu->wait != WAIT_NOTHING && vcpu->wait != WAIT_INTERRUPT)
		return false;
	if (!vmpl_is_runnable(vcpu)) { /* VMRUN would fail */
		vcpu->wait = WAIT_VMSA;
		return false;
	}
	return vcpu->wait == WAIT_NOTHING || wakes(vcpu);
}

static bool others_ready(struct vcpu *vcpu)
{
	for (u32 i = 0; i < vcpu->hv->vcpus; i++) {
		if (i != vcpu->index && readiness_of(&vcpu->hv->vcpu[i]))
			return true;
	}
	return false;
}

void readiness_turn_ends(struct vcpu *vcpu)
{
	bool waited = vcpu->paused && now_ns(vcpu->hv) - vcpu->hv->turn_began_ns < PART_NS;

	if (!vcpu->paused)
		vcpu->spins = 0;
	else if (!waited)
		vcpu->spins = 1;
	else if (vcpu->spins < PARTS)
		vcpu->spins++;
	vcpu->paused = false;
}

/*
 * While another vCPU spins, it probably waits for this one, which has it: an IPI's handler, the start of an AP. It gets
 * the processor again soon, and each time that it only spins on, twice as late as before.
 */
static u32 parts(const struct vcpu *vcpu)
{
	u32 least = PARTS;

	for (u32 i = 0; i < vcpu->hv->vcpus; i++) {
		const struct vcpu *other = &vcpu->hv->vcpu[i];

		if (other != vcpu && other->wait == WAIT_NOTHING && other->spins && other->spins < least)
			least = other->spins;
	}
	return least;
}

/*
 * A slice begins when another vCPU is ready. It ends early if the vCPU only waits for another one. One that is over has no
 * end any more: a vCPU that first has to finish a single step would be interrupted before it again and again.
 */
u64 readiness_slice_end(struct vcpu *vcpu)
{
	struct hypervisor *hv = vcpu->hv;

	if (hv->vcpus == 1 || vcpu->yield)
		return NO_DEADLINE;
	if (!others_ready(vcpu))
		hv->slice_end_ns = NO_DEADLINE;
	else if (hv->slice_end_ns == NO_DEADLINE) {
		hv->slice_part = 1;
		hv->slice_end_ns = now_ns(hv) + PART_NS;
	}
	return hv->slice_end_ns;
}

void readiness_tick(struct vcpu *vcpu)
{
	struct hypervisor *hv = vcpu->hv;
	u32 end;

	if (hv->vcpus == 1)
		return;
	vcpu->deadline_tsc = 0;
	if (hv->slice_end_ns == NO_DEADLINE || now_ns(hv) < hv->slice_end_ns)
		return;
	end = parts(vcpu);
	if (hw_spins(vcpu->cpu) || hv->slice_part >= end) {
		vcpu->yield = true;
		return;
	}
	hv->slice_end_ns = now_ns(hv) + PART_NS * ((1u << end) - (1u << hv->slice_part)); /* the other parts, without an interrupt */
	hv->slice_part = end;
}
