/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QEMU's I/O APIC, where there are several vCPUs. */
#ifndef SNP_IOAPIC_H
#define SNP_IOAPIC_H

#include "vcpu.h"

bool ioapic_owns(u64 gpa);
void ioapic_access(struct vcpu *vcpu, u64 gpa, u32 size, bool write, u64 *value);
/* Where a level-triggered entry sends a vector, as an ICR; false: there is none. */
bool ioapic_route(struct hypervisor *hv, u8 vector, u64 *icr);

#endif
