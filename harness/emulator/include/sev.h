/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * SEV-SNP as software sees it: MSRs, CPUID, PVALIDATE, RMPADJUST, #VC error codes.
 * Source: AMD64 APM (publications 24593 vol. 2 and 24594 vol. 3), sections named at each block.
 */
#ifndef SNP_SEV_H
#define SNP_SEV_H

#include "types.h"

/* MSRs (APM vol. 2, appendix A; 15.34.10 SEV_STATUS, 15.35.8 GHCB). */
#define SEV_MSR_GHCB     0xC0010130u
#define SEV_MSR_STATUS   0xC0010131u
#define SEV_MSR_SVSM_CAA 0xC001F000u /* software MSR: SVSM specification 58019, section 3 */

/* MSR C0010131 SEV_STATUS (APM vol. 2, 15.34.10). Read only. */
#define SEV_STATUS_SEV                  BIT(0)
#define SEV_STATUS_SEV_ES               BIT(1)
#define SEV_STATUS_SNP                  BIT(2)
#define SEV_STATUS_VTOM                 BIT(3)
#define SEV_STATUS_REFLECT_VC           BIT(4)
#define SEV_STATUS_RESTRICTED_INJECTION BIT(5)
#define SEV_STATUS_ALTERNATE_INJECTION  BIT(6)
#define SEV_STATUS_DEBUG_SWAP           BIT(7) /* debug virtualization: DR0-3 and masks are in the VMSA */
#define SEV_STATUS_PREVENT_HOST_IBS     BIT(8)
#define SEV_STATUS_BTB_ISOLATION        BIT(9)
#define SEV_STATUS_VMPL_SSS             BIT(10)
#define SEV_STATUS_SECURE_TSC           BIT(11)
#define SEV_STATUS_VMGEXIT_PARAMETER    BIT(12)
#define SEV_STATUS_VMSA_REG_PROT        BIT(16)
#define SEV_STATUS_SMT_PROTECTION       BIT(17)
#define SEV_STATUS_SECURE_AVIC          BIT(18)

/* SEV_FEATURES, VMSA offset 3B0 (APM vol. 2, table B-4): SEV_STATUS shifted, from SNP on. */
#define SEV_FEATURES_SNP                 BIT(0)
#define SEV_FEATURES_VTOM                BIT(1)
#define SEV_FEATURES_REFLECT_VC          BIT(2)
#define SEV_FEATURES_RESTRICTED_INJECTION BIT(3)
#define SEV_FEATURES_ALTERNATE_INJECTION BIT(4)
#define SEV_FEATURES_DEBUG_SWAP          BIT(5)
#define SEV_FEATURES_PREVENT_HOST_IBS    BIT(6)
#define SEV_FEATURES_BTB_ISOLATION       BIT(7)
#define SEV_FEATURES_VMPL_SSS            BIT(8)
#define SEV_FEATURES_SECURE_TSC          BIT(9)
#define SEV_FEATURES_VMGEXIT_PARAMETER   BIT(10)
#define SEV_FEATURES_VMSA_REG_PROT       BIT(14)
#define SEV_FEATURES_SMT_PROTECTION      BIT(15)
#define SEV_FEATURES_SECURE_AVIC         BIT(16)
#define SEV_FEATURES_STATUS_SHIFT        2 /* SEV_STATUS bit = SEV_FEATURES bit + 2 */

/* CPUID Fn8000_001F (APM vol. 3, E.4.17). */
#define SEV_CPUID_LEAF              0x8000001Fu
#define SEV_CPUID_EAX_SEV           BIT(1)
#define SEV_CPUID_EAX_SEV_ES        BIT(3)
#define SEV_CPUID_EAX_SNP           BIT(4)
#define SEV_CPUID_EAX_SVSM_MSR      BIT(28) /* SVSM communication page MSR (C001F000) */
#define SEV_CPUID_EBX_CBIT_MASK     0x3Fu   /* 5:0 C-bit position */

/* Results of PVALIDATE and RMPADJUST in EAX (APM vol. 3, PVALIDATE and RMPADJUST). */
enum sev_result {
	SEV_SUCCESS = 0,
	SEV_FAIL_INPUT = 1,
	SEV_FAIL_PERMISSION = 2,   /* RMPADJUST only */
	SEV_FAIL_INUSE = 3,        /* RMPADJUST only */
	SEV_FAIL_SIZEMISMATCH = 6,
	SEV_FAIL_UNCHANGED = 0x10, /* software's name for PVALIDATE's CF = 1 (SVSM specification 58019, table 6) */
};

/* RCX of PVALIDATE and RMPADJUST: page size. */
#define SEV_PAGE_4K 0u
#define SEV_PAGE_2M 1u

/* RDX of RMPADJUST (APM vol. 3): 7:0 target VMPL, 15:8 permissions, 16 VMSA. */
#define SEV_RMPADJUST_VMPL_MASK    0xFFull
#define SEV_RMPADJUST_PERM_SHIFT   8
#define SEV_RMPADJUST_VMSA         BIT(16)
/* VMPL permission bits (APM vol. 2, table 15-38). */
#define SEV_PERM_READ             0x01u
#define SEV_PERM_WRITE            0x02u
#define SEV_PERM_EXECUTE_USER     0x04u
#define SEV_PERM_EXECUTE_SUPERVISOR 0x08u
#define SEV_PERM_SUPERVISOR_SSS   0x10u
#define SEV_PERM_ALL              0x0Fu /* the permissions that an SVSM grants a guest: all but SSS */

/* Opcode bytes; EAX/CF results are emulated by the host. */
#define SEV_OPCODE_PVALIDATE ".byte 0xF2, 0x0F, 0x01, 0xFF"
#define SEV_OPCODE_RMPADJUST ".byte 0xF3, 0x0F, 0x01, 0xFE"

/*
 * Not the processor's: an instruction of the emulated host alone, for the reference SVSM at VMPL0 (config.h, rmp_batches);
 * elsewhere UD1 raises #UD. It carries out RCX operations from RSI on, each as PVALIDATE or RMPADJUST would, with the same
 * faults. Both registers advance past those that succeeded; the first other one ends it, with that one's EAX and CF.
 */
#define SEV_OPCODE_RMP_BATCH ".byte 0x0F, 0xB9, 0xC0"

struct sev_rmp_operation {
	u64 page; /* linear address, and SEV_RMP_OPERATION_* in bits 11:0 */
	u64 rdx;
};
#define SEV_RMP_OPERATION_2M        BIT(0) /* ECX */
#define SEV_RMP_OPERATION_RMPADJUST BIT(1) /* else PVALIDATE */
#define SEV_RMP_OPERATION_IGNORE_CF BIT(2) /* success even if the page was so already */
#define SEV_RMP_OPERATION_OTHERS    (0xFFFull & ~7ull) /* software's own */

/* Exceptions (APM vol. 2, table 8-1). */
#define SEV_VECTOR_HV 28u
#define SEV_VECTOR_VC 29u

#endif
