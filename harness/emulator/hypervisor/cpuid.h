/* SPDX-License-Identifier: GPL-2.0-or-later */
/* CPUID as the guest sees it. */
#ifndef SNP_CPUID_H
#define SNP_CPUID_H

#include "vcpu.h"

struct cpuid_result;
void cpuid_guest(struct vcpu *vcpu, u32 leaf, u32 subleaf, struct cpuid_result *result);
void cpuid_fill_page(struct vcpu *vcpu, u8 *page); /* of the launch */
void cpuid_exit(struct vcpu *vcpu); /* where it does not become #VC */
void cpuid_set_xcr0(struct vcpu *vcpu, u64 xcr0); /* of an NAE event; an invalid one is ignored, as by KVM */

#endif
