/* SPDX-License-Identifier: GPL-2.0-or-later */
/* NAE events: requests in the GHCB page (publication 56421, section 4). */
#ifndef SNP_NAE_H
#define SNP_NAE_H

#include "vcpu.h"

void nae_event(struct vcpu *vcpu, u64 ghcb_gpa);

#endif
