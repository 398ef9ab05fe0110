/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Several vCPUs on the one processor that runs the host: one after the other, always in the same order.
 *
 * A vCPU gives the processor up when it has to wait, at PAUSE (what it spins for is another's to do), and at the end
 * of its slice where others could run. With one vCPU there are no slices and no exits at PAUSE.
 */
#include "cpu.h"
#include "host.h"
#include "layout.h"

#define SLICE_NS    1000000ull
#define MSR_TSC_AUX 0xC0000103u

extern u8 host_stacks[];

/* Who ends another kind of waiting sets WAIT_NOTHING. */
static bool is_ready(struct vcpu *vcpu)
{
	if (vcpu->wait != WAIT_NOTHING && vcpu->wait != WAIT_INTERRUPT)
		return false;
	if (!vmpl_is_runnable(vcpu)) { /* VMRUN would fail */
		vcpu->wait = WAIT_VMSA;
		return false;
	}
	return vcpu->wait == WAIT_NOTHING || apic_wakes(vcpu);
}

/* The next one in turn that can run, `vcpu` itself last; NULL: none. */
static struct vcpu *next_ready(struct vcpu *vcpu)
{
	struct host *host = vcpu->host;

	for (u32 i = 1; i <= host->vcpus; i++) {
		struct vcpu *next = &host->vcpu[(vcpu->index + i) % host->vcpus];

		if (is_ready(next))
			return next;
	}
	return NULL;
}

/* Only an interrupt comes by itself: without a vCPU that waits for one, nothing ever happens again. */
static bool is_over(struct host *host)
{
	for (u32 i = 0; i < host->vcpus; i++) {
		if (host->vcpu[i].wait == WAIT_INTERRUPT)
			return false;
	}
	return true;
}

static void switch_to(struct vcpu *from, struct vcpu *to)
{
	vmpl_leave(from);
	from->tsc_aux = rdmsr(MSR_TSC_AUX);
	wrmsr(MSR_TSC_AUX, to->tsc_aux);
	vmpl_enter(to, to->vmpl);
	*(struct vcpu **)(host_stacks + STACK_SIZE - 8) = to; /* for entry.S */
	to->deadline_tsc = 0; /* look for interrupts, and arm the timer */
}

struct vcpu *schedule(struct vcpu *vcpu)
{
	struct vcpu *next;

	vcpu->yield = false;
	while (!(next = next_ready(vcpu))) {
		if (is_over(vcpu->host))
			host_stop(vcpu, RECORD_END_NO_VMSA, 0, 0);
		apic_sleep(vcpu);
	}
	vcpu->host->slice_end_ns = NO_DEADLINE;
	if (next != vcpu)
		switch_to(vcpu, next);
	if (next->wait == WAIT_INTERRUPT && !is_guest(next))
		next->vmsa_came = false;
	next->wait = WAIT_NOTHING;
	next->apic_dirty = true;
	return next;
}

static bool others_ready(struct vcpu *vcpu)
{
	for (u32 i = 0; i < vcpu->host->vcpus; i++) {
		if (i != vcpu->index && is_ready(&vcpu->host->vcpu[i]))
			return true;
	}
	return false;
}

/* A slice begins when somebody waits for its end. */
u64 schedule_slice_end(struct vcpu *vcpu)
{
	struct host *host = vcpu->host;

	if (host->vcpus == 1)
		return NO_DEADLINE;
	if (!others_ready(vcpu))
		host->slice_end_ns = NO_DEADLINE;
	else if (host->slice_end_ns == NO_DEADLINE)
		host->slice_end_ns = now_ns(host) + SLICE_NS;
	return host->slice_end_ns;
}

/* A physical interrupt was taken: of the timer, perhaps. */
void schedule_tick(struct vcpu *vcpu)
{
	if (vcpu->host->vcpus == 1)
		return;
	vcpu->deadline_tsc = 0;
	if (vcpu->host->slice_end_ns != NO_DEADLINE && now_ns(vcpu->host) >= vcpu->host->slice_end_ns)
		vcpu->yield = true;
}
