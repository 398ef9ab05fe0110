/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How vCPUs start and stop: reset, INIT and SIPI, AP reset hold, and AP creation.
 * None of these happens to the vCPU that is in the processor, except the hold, which it requests itself.
 */
#ifndef SNP_STARTUP_H
#define SNP_STARTUP_H

#include "vcpu.h"

void startup_reset(struct vcpu *vcpu); /* before the first VMRUN of an AP */
void startup_init(struct vcpu *vcpu);
void startup_sipi(struct vcpu *vcpu, u8 vector);
void startup_hold(struct vcpu *vcpu, u64 ghcb_gpa);
void startup_vmsa(struct vcpu *vcpu, u32 vmpl, u64 gpa, u64 features); /* NO_GPA: the VMPL has none from now on */

#endif
