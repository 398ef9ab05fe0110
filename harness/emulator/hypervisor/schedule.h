/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Several vCPUs on one processor. */
#ifndef SNP_SCHEDULE_H
#define SNP_SCHEDULE_H

#include "vcpu.h"

struct vcpu *schedule(struct vcpu *vcpu); /* the vCPU that runs next; stops when there is none and never will be */

#endif
