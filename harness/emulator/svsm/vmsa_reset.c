/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmsa_reset.h"

#include "sev.h"
#include "svm.h"

/* Segment types (APM vol. 2, tables 4-3 to 4-6), accessed and present. */
#define ATTRIBUTES_CODE (VMSA_SEG_P | VMSA_SEG_S | 0xB) /* execute, read */
#define ATTRIBUTES_DATA (VMSA_SEG_P | VMSA_SEG_S | 0x3) /* read, write */
#define ATTRIBUTES_LDT  (VMSA_SEG_P | 0x2)
#define ATTRIBUTES_TSS  (VMSA_SEG_P | 0xB) /* busy */

#define RESET_RFLAGS 0x2ull
#define RESET_MXCSR  0x1F80u
#define RESET_FCW    0x037Fu

void vmsa_reset(struct vmsa *vmsa, u8 vmpl, u64 sev_features, u32 signature)
{
	const struct vmsa_segment data = { .attributes = ATTRIBUTES_DATA, .limit = 0xFFFF };
	const struct vmsa_segment table = { .limit = 0xFFFF };

	*vmsa = (struct vmsa){
		.es = data,
		.cs = { .selector = 0xF000, .attributes = ATTRIBUTES_CODE, .limit = 0xFFFF, .base = 0xFFFF0000 },
		.ss = data,
		.ds = data,
		.fs = data,
		.gs = data,
		.gdtr = table,
		.ldtr = { .attributes = ATTRIBUTES_LDT, .limit = 0xFFFF },
		.idtr = table,
		.tr = { .attributes = ATTRIBUTES_TSS, .limit = 0xFFFF },
		.vmpl = vmpl,
		.efer = VMSA_EFER_SVME,
		.cr0 = CR0_RESET,
		.dr6 = DR6_RESET,
		.dr7 = DR7_RESET,
		.rflags = RESET_RFLAGS,
		.rip = 0xFFF0,
		.rdx = signature,
		.g_pat = PAT_RESET,
		.sev_features = sev_features,
		.guest_exit_code = SVM_EXIT_INVALID,
		.xcr0 = 1,
		.mxcsr = RESET_MXCSR,
		.x87_fcw = RESET_FCW,
	};
	/* Without GIF, interrupts that the SVSM queues would never be delivered. */
	if (sev_features & SEV_FEATURES_ALTERNATE_INJECTION)
		vmsa->vintr_ctrl = VMSA_VINTR_GIF;
}
