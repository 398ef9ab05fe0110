/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Alternate Injection of the guest: it connects a vCPU's APIC (lapic.h) with its doorbell page, the guest's VMSA
 * and calling area, and the hypervisor. Without Alternate Injection a vCPU has no doorbell page, and these functions
 * do nothing.
 */
#ifndef SVSM_ALTERNATE_H
#define SVSM_ALTERNATE_H

#include "vcpu.h"

/* The guest's VMSAs have Alternate Injection at launch. */
bool alternate_wanted(const struct svsm *svsm);

/* The hypervisor feature bit of Alternate Injection. */
u64 alternate_feature(const struct svsm *svsm);

/* Sets up the vCPU's doorbell page, APIC and timer. False: the hypervisor refuses, which is reported on the console. */
bool alternate_init(struct vcpu *vcpu);

/* The guest's vCPU starts as after INIT, which resets its APIC (APM vol. 2, table 14-1). */
void alternate_reset(struct vcpu *vcpu);

/* Called before each run of the guest: reads what is pending and presents it in the VMSA. */
void alternate_present(struct vcpu *vcpu, struct vmsa *vmsa);

/* READ_REGISTER and WRITE_REGISTER of the registers that the SVSM serves: enum svsm_result. */
u64 alternate_read(struct vcpu *vcpu, u64 msr, u64 *value);
u64 alternate_write(struct vcpu *vcpu, u64 msr, u64 value);

/* Called before the vCPU's calling area moves. */
void alternate_forget_caa(struct vcpu *vcpu);

/* Ends emulation on this vCPU: the hypervisor's APIC continues. */
void alternate_disable(struct vcpu *vcpu);

#endif
