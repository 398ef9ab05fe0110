/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The NAE events that the SVSM makes, by ghcb_call(). Each function returns whether the hypervisor completed it.
 */
#ifndef SVSM_NAE_H
#define SVSM_NAE_H

#include "vcpu.h"

/* Makes `vmsa_gpa` the VMSA of a VMPL of the vCPU with `apic_id`, at once. */
bool nae_create_vmsa(struct vcpu *vcpu, u32 apic_id, u32 vmpl, u64 vmsa_gpa, u64 sev_features);

bool nae_read_msr(struct vcpu *vcpu, u32 msr, u64 *value);
bool nae_write_msr(struct vcpu *vcpu, u32 msr, u64 value);

/* Makes the page, which is shared, the vCPU's #HV doorbell page. */
bool nae_set_doorbell(struct vcpu *vcpu, u64 gpa);

/* Sets the vector that the hypervisor raises with events of the guest. */
bool nae_configure_injection(struct vcpu *vcpu, u8 vector);

/* Ends a level-triggered interrupt that the hypervisor has posted for the guest. */
bool nae_specific_eoi(struct vcpu *vcpu, u8 vector);

/* From here on the hypervisor delivers the guest's interrupts. */
bool nae_disable_alternate_injection(struct vcpu *vcpu, u8 tpr, bool shadow, bool interrupts_enabled);

/* Sends a Fixed interrupt to VMPL0 of other vCPUs. */
bool nae_ipi(struct vcpu *vcpu, u64 icr);

/* Sets the vCPU's own APIC timer; needs HV_FEATURE_RESTRICTED_INJECTION_TIMER. */
bool nae_set_timer(struct vcpu *vcpu, u32 lvt, u32 divide, u32 initial);

#endif
