/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The way into the guest's VMPL, which a #HV on the way there must close: what it announces would otherwise wait
 * until the guest comes back by itself.
 */
#ifndef SVSM_RUN_VMPL_H
#define SVSM_RUN_VMPL_H

#include "vcpu.h"

#define RUN_VMPL_ENTERED   0u
#define RUN_VMPL_CANCELLED UINT32_MAX /* the doorbell page has news: take them and try again */
#define RUN_VMPL_MALFORMED (UINT32_MAX - 1) /* no answer to this request */

/* Runs the guest's VMPL on this vCPU until the hypervisor comes back: RUN_VMPL_*, or the hypervisor's error code. */
u32 run_vmpl(struct vcpu *vcpu, u32 vmpl);

/* For the #HV handler: where to go on from `rip`. */
u64 run_vmpl_after_signal(u64 rip);

#endif
