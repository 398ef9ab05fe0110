/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * KVM's clock (Linux, Documentation/virt/kvm/x86/msr.rst and cpuid.rst): the guest computes the time from its TSC and the
 * page that the hypervisor fills, without an exit. Without it Linux reads the HPET: three exits each time.
 */
#ifndef SNP_KVM_CLOCK_H
#define SNP_KVM_CLOCK_H

#include "x86.h"
#include "vcpu.h"

#define KVM_CPUID_SIGNATURE 0x40000000u
#define KVM_CPUID_FEATURES  0x40000001u

void kvm_clock_cpuid(u32 leaf, struct cpuid_result *r); /* of these two leaves */
bool kvm_clock_owns_msr(u32 msr);
void kvm_clock_msr(struct vcpu *vcpu, u32 msr, bool write, u64 *value);
void kvm_clock_tsc_changed(struct vcpu *vcpu);

#endif
