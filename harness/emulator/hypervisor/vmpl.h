/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which VMPL of a vCPU runs, and the SVSM calls that a switch carries. */
#ifndef SNP_VMPL_H
#define SNP_VMPL_H

#include "vcpu.h"

bool vmpl_is_runnable(struct vcpu *vcpu);     /* the VMSA of the VMPL that runs is one still */
/* The VMSA of a VMPL from now on, also if it runs; NO_GPA: it has none. */
void vmpl_set_vmsa(struct vcpu *vcpu, u32 vmpl, u64 gpa, u64 features);
void vmpl_abandon(struct vcpu *vcpu);         /* the VMPL that runs: its VMSA is gone, and nothing is kept */
/* The guest's request to run a VMPL: VMPL0 runs a lower one, which returns to VMPL0 to make a call; false: refused. */
bool vmpl_switch(struct vcpu *vcpu, u32 vmpl);
void vmpl_return(struct vcpu *vcpu, u64 code); /* back to VMPL0, `code` for it in the VMSA */

#endif
