/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guest's accesses to its local APIC: each one is logged. */
#ifndef SNP_APIC_ACCESS_H
#define SNP_APIC_ACCESS_H

#include "vcpu.h"

bool apic_owns_page(struct vcpu *vcpu, u64 gpa); /* of the APIC of the VMPL that runs, or that at reset */
bool apic_needs_page(struct hypervisor *hv, u64 gpa); /* of any vCPU's APIC: not for a device */
enum vapic_result apic_mmio(struct vcpu *vcpu, u64 gpa, u32 size, bool write, u64 *value, u64 pc);
/* For mmio_step.c: the page as reads of it see it, and the record of a read; `size` 0: not known. */
void apic_show(struct vcpu *vcpu, u64 gpa, u8 *page);
void apic_shown(struct vcpu *vcpu, u64 gpa, u32 size, u64 value, u64 pc);
bool apic_owns_msr(u32 msr);
bool apic_msr(struct vcpu *vcpu, u32 msr, bool write, u64 *value, u64 pc); /* false: #GP */
void apic_msr_not_made(struct vcpu *vcpu, u32 msr, bool write, u64 value, bool ok, u64 pc); /* a deliberate fault: its record */
bool apic_is_enabled(struct vcpu *vcpu);

#endif
