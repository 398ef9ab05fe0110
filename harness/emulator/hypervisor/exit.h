/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the hypervisor does after each exit of the guest. */
#ifndef SNP_EXIT_H
#define SNP_EXIT_H

#include "vcpu.h"

void exit_handle(struct vcpu *vcpu, struct hw_exit *exit);

#endif
