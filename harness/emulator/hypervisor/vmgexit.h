/* SPDX-License-Identifier: GPL-2.0-or-later */
/* VMGEXIT: the GHCB MSR protocol (publication 56421, section 2.3.1), and NAE events. */
#ifndef SNP_VMGEXIT_H
#define SNP_VMGEXIT_H

#include "vcpu.h"

void vmgexit(struct vcpu *vcpu, u64 request); /* MSR C0010130 */

#endif
