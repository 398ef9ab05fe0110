/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Accesses to GPAs without memory: the APIC page and QEMU's devices. */
#ifndef SNP_MMIO_H
#define SNP_MMIO_H

#include "vcpu.h"

void mmio_exit(struct vcpu *vcpu, const struct hw_exit *exit); /* an #NPF on a GPA without memory */
bool mmio_access(struct vcpu *vcpu, u64 gpa, u32 size, bool write, u64 *value, u64 pc); /* false: no device answers */

/* A plain guest's access to a page that the hypervisor serves: it carries out the instruction (mmio_emulate.c), */
void mmio_emulate(struct vcpu *vcpu, u64 gpa, u64 info); /* `info`: of the #NPF */
/* or the processor does, on a copy of the page (mmio_step.c). */
void mmio_step(struct vcpu *vcpu, u64 gpa, bool write);
bool mmio_is_device(struct vcpu *vcpu, u64 gpa); /* the guest may make any access to the page itself */
bool mmio_step_exit(struct vcpu *vcpu, const struct hw_exit *exit); /* while vcpu->stepping; true: nothing is left to do */

#endif
