/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Accesses to GPAs without memory: the APIC page and QEMU's devices. */
#ifndef SNP_MMIO_H
#define SNP_MMIO_H

#include "vcpu.h"

void mmio_exit(struct vcpu *vcpu, const struct hw_exit *exit); /* an #NPF on a GPA without memory */
bool mmio_access(struct vcpu *vcpu, u64 gpa, u32 size, bool write, u64 *value, u64 pc); /* false: no device answers */

/* A plain guest's access to the APIC page: without #VC, the hypervisor carries out the instruction (mmio_emulate.c). */
void mmio_emulate(struct vcpu *vcpu, u64 gpa);

#endif
