/* SPDX-License-Identifier: GPL-2.0-or-later */
/* MSRs that VMRUN does not switch and the emulator does not need: each vCPU has its own, in memory. */
#ifndef SNP_OWN_MSR_H
#define SNP_OWN_MSR_H

#include "vcpu.h"

void own_msr_intercept(u8 *permissions);
void own_msr_reset(struct vcpu *vcpu);
u64 *own_msr(struct vcpu *vcpu, u32 msr); /* NULL: another MSR */
bool own_msr_accepts(const struct vcpu *vcpu, u32 msr, u64 value); /* false: #GP */

#endif
