/* SPDX-License-Identifier: GPL-2.0-or-later */
/* MSR intercepts and accesses. */
#ifndef SNP_MSR_H
#define SNP_MSR_H

#include "vcpu.h"

void msr_setup(struct hypervisor *hv, u8 *permissions);
bool msr_access(struct vcpu *vcpu, u32 msr, bool write, u64 *value, u64 pc); /* false: #GP */
void msr_exit(struct vcpu *vcpu); /* where it does not become #VC */

#endif
