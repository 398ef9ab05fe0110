/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The launch: what the loader leaves for the first VMRUN. */
#ifndef SNP_LAUNCH_H
#define SNP_LAUNCH_H

#include "vcpu.h"

void launch(struct vcpu *vcpu);

#endif
