/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Hypercalls (Linux, Documentation/virt/kvm/x86/hypercalls.rst). */
#ifndef SNP_HYPERCALL_H
#define SNP_HYPERCALL_H

#include "vcpu.h"

struct hypercall {
	u64 number;      /* RAX */
	u64 argument[4]; /* RBX, RCX, RDX, RSI */
	u8 cpl;
	bool wide;       /* made in 64-bit mode: otherwise all values have 32 bits */
};

u64 hypercall(struct vcpu *vcpu, struct hypercall call); /* the new RAX */

#endif
