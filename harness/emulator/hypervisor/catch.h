/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QEMU's processors but the first: they receive devices' messages for the other vCPUs. */
#ifndef SNP_CATCH_H
#define SNP_CATCH_H

#include "vcpu.h"

void catch_start(struct hypervisor *hv);   /* start them */
void catch_collect(struct hypervisor *hv); /* what they received becomes interrupts of the vCPUs */
void catch_mirror(struct vcpu *vcpu);      /* its processor's APIC accepts the logical destinations of the vCPU's */

#endif
