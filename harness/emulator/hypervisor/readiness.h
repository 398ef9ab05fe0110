/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which vCPUs can run, and for how long. */
#ifndef SNP_READINESS_H
#define SNP_READINESS_H

#include "vcpu.h"

bool readiness_of(struct vcpu *vcpu);
bool readiness_signalled(struct vcpu *vcpu); /* VMPL0 has to run: for itself, or for a guest with Alternate Injection */
u64 readiness_slice_end(struct vcpu *vcpu); /* another vCPU's turn, or NO_DEADLINE */
void readiness_turn_ends(struct vcpu *vcpu); /* it leaves the processor */
void readiness_tick(struct vcpu *vcpu); /* a physical interrupt was taken: of the timer, perhaps */

#endif
