/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Entry of the guest's VMPL. A #HV that occurs shortly before must cancel the entry: its event would otherwise wait
 * until the guest exits by itself.
 */
#ifndef SVSM_RUN_VMPL_H
#define SVSM_RUN_VMPL_H

#include "vcpu.h"

#define RUN_VMPL_ENTERED   0u
#define RUN_VMPL_CANCELLED UINT32_MAX /* the doorbell page has new events: read them and try again */
#define RUN_VMPL_MALFORMED (UINT32_MAX - 1) /* the value is not an answer to this request */

/* run.c: runs the guest on this vCPU and serves its calls; ends with the guest. */
_Noreturn void run_guest(struct vcpu *vcpu);

/* Runs the guest's VMPL on this vCPU until the hypervisor returns: RUN_VMPL_*, or the hypervisor's error code. */
u32 run_vmpl(struct vcpu *vcpu, u32 vmpl);

/* For the #HV handler: the address at which `rip` continues. */
u64 run_vmpl_after_signal(u64 rip);

#endif
