/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A VMSA in the state of a processor after reset. Pure: no hardware.
 */
#ifndef SVSM_VMSA_RESET_H
#define SVSM_VMSA_RESET_H

#include "vmsa.h"

/*
 * APM vol. 2, table 14-1, with EFER.SVME set (a VMSA needs it to run). The x87 control word and
 * MXCSR are what QEMU and KVM launch SNP guests with. `signature` is CPUID 1 EAX (RDX at reset).
 */
void vmsa_reset(struct vmsa *vmsa, u8 vmpl, u64 sev_features, u32 signature);

#endif
