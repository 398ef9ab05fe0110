/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An event to inject: EVENTINJ and EXITINTINFO of a VMCB, event_inj of a VMSA (APM vol. 2, 15.20). */
#ifndef SNP_SVM_EVENT_H
#define SNP_SVM_EVENT_H

#include "types.h"

#define SVM_EVENT_VECTOR      0xFFull
#define SVM_EVENT_TYPE_MASK   0x700ull
#define SVM_EVENT_INTR        0x000ull
#define SVM_EVENT_NMI         0x200ull
#define SVM_EVENT_EXCEPTION   0x300ull
#define SVM_EVENT_SOFTWARE    0x400ull
#define SVM_EVENT_ERROR       BIT(11)
#define SVM_EVENT_VALID       BIT(31)
#define SVM_EVENT_ERROR_SHIFT 32

enum x86_vector {
	X86_DE = 0, X86_DB = 1, X86_NMI = 2, X86_BP = 3, X86_OF = 4, X86_UD = 6, X86_NM = 7, X86_DF = 8, X86_TS = 10,
	X86_SS = 12, X86_GP = 13, X86_PF = 14,
};

#endif
