/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The parts of the loop in main.c that runs the guest. */
#ifndef SNP_LOOP_H
#define SNP_LOOP_H

#include "vcpu.h"

void launch(struct vcpu *vcpu); /* what the loader leaves for the first VMRUN */
struct vcpu *schedule(struct vcpu *vcpu); /* the vCPU that runs next; stops when there is none and never will be */
void exit_handle(struct vcpu *vcpu, struct hw_exit *exit);

#endif
