/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "faults.h"

bool fault_now(struct vcpu *vcpu, u32 fault)
{
	u32 *count = &vcpu->fault_count[__builtin_ctz(fault)];

	if (!(vcpu->hv->config->faults & fault))
		return false;
	if (++*count < vcpu->hv->config->fault_every)
		return false;
	*count = 0;
	return true;
}
