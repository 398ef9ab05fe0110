/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "timer.h"

static u64 earlier(u64 a, u64 b) { return a < b ? a : b; }

u64 timer_deadline(struct vcpu *vcpu)
{
	u64 deadline = earlier(vapic_timer_deadline(guest_apic(vcpu)), vapic_timer_deadline(&vcpu->apic[0]));

	return vcpu->delayed_until_ns ? earlier(deadline, vcpu->delayed_until_ns) : deadline;
}

void timer_run(struct vcpu *vcpu)
{
	struct vapic *apic = guest_apic(vcpu);

	if (vapic_timer_deadline(apic) != NO_DEADLINE && vapic_timer_run(apic, now_ns(vcpu->hv)))
		vcpu->irq_source[vapic_timer_vector(apic)] = RECORD_IRQ_TIMER;
	if (has_doorbell(vcpu) && vapic_timer_deadline(&vcpu->apic[0]) != NO_DEADLINE)
		vapic_timer_run(&vcpu->apic[0], now_ns(vcpu->hv));
}

void timer_run_all(struct hypervisor *hv)
{
	for (u32 i = 0; i < hv->vcpus; i++)
		timer_run(&hv->vcpu[i]);
}
