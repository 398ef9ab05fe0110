/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guest's accesses to its local APIC: each one is logged. */
#ifndef SNP_APIC_ACCESS_H
#define SNP_APIC_ACCESS_H

#include "vcpu.h"

enum vapic_result apic_mmio(struct vcpu *vcpu, u64 gpa, u32 size, bool write, u64 *value, u64 pc); /* the APIC page */
bool apic_owns_msr(u32 msr);
bool apic_msr(struct vcpu *vcpu, u32 msr, bool write, u64 *value, u64 pc); /* false: #GP */
bool apic_is_enabled(struct vcpu *vcpu);

#endif
