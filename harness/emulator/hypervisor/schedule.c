/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Several vCPUs on the one processor that runs the emulator: one after the other, always in the same order.
 *
 * A vCPU leaves the processor when it has to wait, at PAUSE (it spins for another vCPU), and at the end of
 * its slice if others are ready. The slices of others are short while one spins: see readiness.c. With one
 * vCPU there are no slices and no exits at PAUSE.
 */
#include "loop.h"
#include "injection.h"
#include "interrupts.h"
#include "layout.h"
#include "physical_apic.h"
#include "readiness.h"
#include "startup.h"

extern u8 host_stacks[];

/* The next one in turn that can run, `vcpu` itself last; NULL: none. */
static struct vcpu *next_ready(struct vcpu *vcpu)
{
	struct hypervisor *hv = vcpu->hv;

	for (u32 i = 1; i <= hv->vcpus; i++) {
		struct vcpu *next = &hv->vcpu[(vcpu->index + i) % hv->vcpus];

		if (readiness_of(next))
			return next;
	}
	return NULL;
}

/* Only an interrupt needs no running vCPU: if no vCPU waits for one, none can run again. */
static bool is_over(struct hypervisor *hv)
{
	for (u32 i = 0; i < hv->vcpus; i++) {
		if (hv->vcpu[i].wait == WAIT_INTERRUPT)
			return false;
	}
	return true;
}

/* Only an NMI ends HLT with interrupts off; #HV reaches VMPL0 whatever its RFLAGS.IF is. */
static bool is_halted(struct hypervisor *hv)
{
	for (u32 i = 0; i < hv->vcpus; i++) {
		struct vcpu *vcpu = &hv->vcpu[i];

		if (vcpu->wait == WAIT_INTERRUPT && (!is_guest(vcpu) || hw_interrupts_enabled(vcpu->cpu)))
			return false;
	}
	return true;
}

static void switch_to(struct vcpu *from, struct vcpu *to)
{
	hw_cpu_switch(from->cpu, to->cpu);
	to->apic_dirty = true;
	*(struct vcpu **)(host_stacks + STACK_SIZE - 8) = to; /* for stubs.S */
	to->deadline_tsc = 0; /* check for interrupts, and arm the timer */
}

/* None can run: until a physical interrupt. The PIC is acknowledged only for a vCPU that takes its interrupt. */
static void sleep(struct vcpu *vcpu)
{
	struct vcpu *boot = boot_vcpu(vcpu);
	bool takes_pic = hw_interrupts_enabled(boot->cpu);

	injection_arm_timer(vcpu);
	if (!takes_pic)
		physical_close_pic();
	hw_log_halted(boot->cpu, is_halted(vcpu->hv));
	interrupts_wait();
	hw_log_halted(boot->cpu, false);
	if (!takes_pic)
		physical_mirror_pic(boot);
}

struct vcpu *schedule(struct vcpu *vcpu)
{
	struct vcpu *next;

	vcpu->yield = false;
	readiness_turn_ends(vcpu);
	if (vcpu->init_pending) {
		vcpu->init_pending = false;
		startup_init(vcpu);
	}
	while (!(next = next_ready(vcpu))) {
		if (is_over(vcpu->hv))
			hw_stop(vcpu->cpu, RECORD_END_NO_VMSA, 0, 0);
		sleep(vcpu);
	}
	vcpu->hv->slice_end_ns = NO_DEADLINE;
	if (next != vcpu)
		switch_to(vcpu, next);
	if (next->wait == WAIT_INTERRUPT && !is_guest(next))
		next->vmsa_came = false;
	next->wait = WAIT_NOTHING;
	next->apic_dirty = true;
	vcpu->hv->turn_began_ns = now_ns(vcpu->hv);
	return next;
}
