/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The virtual timers of the vCPUs. */
#ifndef SNP_TIMER_H
#define SNP_TIMER_H

#include "vcpu.h"

u64 timer_deadline(struct vcpu *vcpu); /* when the next one is due, the guest's or VMPL0's */
void timer_run(struct vcpu *vcpu);     /* timers that are due request their interrupts */
void timer_run_all(struct hypervisor *hv); /* vCPUs that are not in the processor become ready by it */

#endif
