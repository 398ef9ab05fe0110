/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The guest's APIC timer, if the SVSM serves it (SVSM_APIC_FEATURE_TIMER): one-shot and periodic. The SVSM uses the
 * vCPU's own APIC timer at VMPL0, in the hypervisor, with another vector, and posts the guest's vector when it fires.
 */
#ifndef SVSM_APIC_TIMER_H
#define SVSM_APIC_TIMER_H

#include "types.h"

struct vcpu;

struct apic_timer {
	u32 lvt;     /* as the guest wrote it */
	u32 divide;
	u32 initial;
};

/* Makes the vCPU's own APIC usable; false when the hypervisor refuses. */
bool apic_timer_init(struct vcpu *vcpu);

/* The MSR is one of 832, 838, 839 and 83E, and the SVSM serves them. */
bool apic_timer_has(const struct vcpu *vcpu, u64 msr);

/* READ_REGISTER and WRITE_REGISTER: enum svsm_result; SVSM_ERR_INVALID_REQUEST when the hypervisor refuses. */
u64 apic_timer_read(struct vcpu *vcpu, u64 msr, u64 *value);
u64 apic_timer_write(struct vcpu *vcpu, u64 msr, u64 value);

/* Called when SVSM_VECTOR_TIMER was raised. */
void apic_timer_expired(struct vcpu *vcpu, bool eoi);

void apic_timer_stop(struct vcpu *vcpu);

#endif
