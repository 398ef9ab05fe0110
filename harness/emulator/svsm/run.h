/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SVSM_RUN_H
#define SVSM_RUN_H

#include "vcpu.h"

/* Runs the guest on this vCPU and serves its calls; ends with the guest. */
_Noreturn void run_guest(struct vcpu *vcpu);

#endif
