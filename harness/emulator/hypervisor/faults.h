/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the hypervisor does wrong on purpose: CONFIG_FAULT_*. */
#ifndef SNP_FAULTS_H
#define SNP_FAULTS_H

#include "vcpu.h"

bool fault_now(struct vcpu *vcpu, u32 fault); /* it is time for this CONFIG_FAULT_* */

#endif
