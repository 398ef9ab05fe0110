/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Alternate Injection of the guest: what joins a vCPU's APIC (lapic.h) with its doorbell page, the guest's VMSA
 * and calling area, and the hypervisor. Without Alternate Injection a vCPU has no doorbell page, and nothing here
 * does anything.
 */
#ifndef SVSM_ALTERNATE_H
#define SVSM_ALTERNATE_H

#include "vcpu.h"

/* The guest's VMSAs have Alternate Injection at launch. */
bool alternate_wanted(const struct svsm *svsm);

/* The hypervisor feature that stands for it. */
u64 alternate_feature(const struct svsm *svsm);

/* Sets up the vCPU's doorbell page, APIC and timer; false when the hypervisor refuses, with a line on the console. */
bool alternate_init(struct vcpu *vcpu);

/* Before each run of the guest: takes what is pending, and presents it in the VMSA. */
void alternate_present(struct vcpu *vcpu, struct vmsa *vmsa);

/* READ_REGISTER and WRITE_REGISTER of the registers that the SVSM serves: enum svsm_result. */
u64 alternate_read(struct vcpu *vcpu, u64 msr, u64 *value);
u64 alternate_write(struct vcpu *vcpu, u64 msr, u64 value);

/* The vCPU's calling area is about to move. */
void alternate_forget_caa(struct vcpu *vcpu);

/* The end of emulation on this vCPU: the hypervisor takes over. */
void alternate_disable(struct vcpu *vcpu);

#endif
