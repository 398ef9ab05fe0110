/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Deliberate faults of the hypervisor: CONFIG_FAULT_*. */
#ifndef SNP_FAULTS_H
#define SNP_FAULTS_H

#include "vcpu.h"

bool fault_now(struct vcpu *vcpu, u32 fault); /* this CONFIG_FAULT_* occurs now */

#endif
