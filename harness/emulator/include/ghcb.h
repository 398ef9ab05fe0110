/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guest-Hypervisor Communication Block.
 * Source: AMD publication 56421 (SEV-ES Guest-Hypervisor Communication Block Standardization);
 * numbers checked with Linux arch/x86/include/asm/sev-common.h, uapi/asm/svm.h,
 * edk2 MdePkg/Include/Register/Amd/Ghcb.h and COCONUT kernel/src/sev/ghcb.rs.
 */
#ifndef SNP_GHCB_H
#define SNP_GHCB_H

#include "svm_event.h"
#include "svm_exit.h"
#include "types.h"

/* GHCB MSR protocol (section 2.3.1): bits 11:0 of MSR C0010130 with the GHCB information. */
#define GHCB_MSR_INFO_MASK 0xFFFull
#define GHCB_MSR_GPA_MASK  (~0xFFFull)

enum ghcb_msr_info {
	GHCB_MSR_GPA = 0x000,               /* a GHCB GPA: the request is the NAE event in that page */
	GHCB_MSR_SEV_INFO_RESP = 0x001,
	GHCB_MSR_SEV_INFO_REQ = 0x002,
	GHCB_MSR_CPUID_REQ = 0x004,
	GHCB_MSR_CPUID_RESP = 0x005,
	GHCB_MSR_AP_RESET_HOLD_REQ = 0x006,
	GHCB_MSR_AP_RESET_HOLD_RESP = 0x007, /* 63:12: not 0 when woken by SIPI */
	GHCB_MSR_PREF_GPA_REQ = 0x010,
	GHCB_MSR_PREF_GPA_RESP = 0x011,     /* 63:12: GHCB_MSR_NO_GPA: no preference */
	GHCB_MSR_REG_GPA_REQ = 0x012,
	GHCB_MSR_REG_GPA_RESP = 0x013,      /* 63:12: the GFN, or GHCB_MSR_NO_GPA on error */
	GHCB_MSR_PSC_REQ = 0x014,
	GHCB_MSR_PSC_RESP = 0x015,          /* 63:32: error code, 0 is success; 31:12 zero */
	GHCB_MSR_RUN_VMPL_REQ = 0x016,      /* 39:32: VMPL */
	GHCB_MSR_RUN_VMPL_RESP = 0x017,     /* 63:32: error code, 0 is success */
	GHCB_MSR_UNREG_GPA_REQ = 0x018,
	GHCB_MSR_UNREG_GPA_RESP = 0x019,
	GHCB_MSR_HV_FEATURES_REQ = 0x080,
	GHCB_MSR_HV_FEATURES_RESP = 0x081,  /* 63:12: HV_FEATURE_* */
	GHCB_MSR_TERM_REQ = 0x100,          /* 15:12 reason code set, 23:16 reason code */
};

#define GHCB_MSR_NO_GPA            0xFFFFFFFFFFFFFull /* 52 ones, in 63:12 */
#define GHCB_MSR_DATA_SHIFT        12

/* 001 SEV information: 63:48 maximum, 47:32 minimum protocol version, 31:24 C-bit. */
#define GHCB_MSR_SEV_INFO_MAX_SHIFT  48
#define GHCB_MSR_SEV_INFO_MIN_SHIFT  32
#define GHCB_MSR_SEV_INFO_CBIT_SHIFT 24

/* 004 CPUID: 63:32 function, 31:30 register; 005: 63:32 value, 31:30 register. */
#define GHCB_MSR_CPUID_VALUE_SHIFT 32
#define GHCB_MSR_CPUID_REG_SHIFT   30
enum ghcb_cpuid_register { GHCB_CPUID_EAX = 0, GHCB_CPUID_EBX = 1, GHCB_CPUID_ECX = 2, GHCB_CPUID_EDX = 3 };

/* 014 page state change: 55:52 operation, 51:12 GFN. */
#define GHCB_MSR_PSC_OP_SHIFT    52
#define GHCB_MSR_PSC_GFN_MASK    0x000FFFFFFFFFF000ull
#define GHCB_MSR_ERROR_SHIFT     32 /* 015 and 017: error code */

/* 016 run VMPL. */
#define GHCB_MSR_RUN_VMPL_SHIFT  32

/* 100 termination. */
#define GHCB_MSR_TERM_SET_SHIFT    12 /* 15:12 */
#define GHCB_MSR_TERM_REASON_SHIFT 16 /* 23:16 */
enum ghcb_term_set {
	GHCB_TERM_SET_GENERAL = 0,
	GHCB_TERM_SET_LINUX = 1, /* Linux's own reasons */
	GHCB_TERM_SET_SVSM = 7,  /* this project's SVSM; the specification does not assign these sets */
};
enum ghcb_term_reason { /* set 0 (table 4) */
	GHCB_TERM_GENERAL = 0,
	GHCB_TERM_PROTOCOL = 1,     /* GHCB protocol range not supported */
	GHCB_TERM_NO_SNP_SUPPORT = 2, /* SNP features not supported */
};

/* GHCB page (table 3): offsets in bytes. The save area follows the VMSA. */
#define GHCB_CPL          0x0CB /* u8 */
#define GHCB_RAX          0x1F8
#define GHCB_RCX          0x308
#define GHCB_RDX          0x310
#define GHCB_RBX          0x318
#define GHCB_RSI          0x330
#define GHCB_R15          0x378
#define GHCB_SW_EXITCODE  0x390
#define GHCB_SW_EXITINFO1 0x398
#define GHCB_SW_EXITINFO2 0x3A0
#define GHCB_SW_SCRATCH   0x3A8
#define GHCB_XCR0         0x3E8
#define GHCB_VALID_BITMAP 0x3F0 /* 16 bytes: bit n is the quadword at 8 * n */
#define GHCB_VALID_BITMAP_SIZE 16
#define GHCB_SHARED_BUFFER 0x800
#define GHCB_SHARED_BUFFER_SIZE 0x7F0 /* to FEF */
#define GHCB_PROTOCOL_VERSION 0xFFA /* u16 */
#define GHCB_USAGE            0xFFC /* u32 */

#define GHCB_USAGE_STANDARD 0u
#define GHCB_VERSION_MIN    1u
#define GHCB_VERSION_SNP    2u /* the first with SNP */

/* Bit number of a save area offset in the valid bitmap. */
#define GHCB_VALID_BIT(offset) ((offset) / 8)

/* NAE events: SW_EXITCODE (tables 5 and 7). Up to 403 they are SVM exit codes. */
enum nae_code {
	NAE_DR7_READ = SVM_EXIT_DR7_READ,
	NAE_DR7_WRITE = SVM_EXIT_DR7_WRITE,
	NAE_EXCEPTION_AC = SVM_EXIT_EXC_AC,
	NAE_RDTSC = SVM_EXIT_RDTSC,
	NAE_RDPMC = SVM_EXIT_RDPMC,
	NAE_CPUID = SVM_EXIT_CPUID,
	NAE_INVD = SVM_EXIT_INVD,
	NAE_IOIO = SVM_EXIT_IOIO,
	NAE_MSR = SVM_EXIT_MSR,
	NAE_SHUTDOWN = SVM_EXIT_SHUTDOWN,
	NAE_VMMCALL = SVM_EXIT_VMMCALL,
	NAE_RDTSCP = SVM_EXIT_RDTSCP,
	NAE_WBINVD = SVM_EXIT_WBINVD,
	NAE_MONITOR = SVM_EXIT_MONITOR,
	NAE_MWAIT = SVM_EXIT_MWAIT,
	NAE_NPF = SVM_EXIT_NPF,
	NAE_MMIO_READ = 0x80000001,
	NAE_MMIO_WRITE = 0x80000002,
	NAE_NMI_COMPLETE = 0x80000003,
	NAE_AP_RESET_HOLD = 0x80000004,
	NAE_AP_JUMP_TABLE = 0x80000005,
	NAE_PSC = 0x80000010,
	NAE_GUEST_REQUEST = 0x80000011,
	NAE_EXTENDED_GUEST_REQUEST = 0x80000012,
	NAE_AP_CREATION = 0x80000013,
	NAE_HV_DOORBELL = 0x80000014,
	NAE_HV_IPI = 0x80000015,
	NAE_HV_TIMER = 0x80000016, /* UNVERIFIED: no source has the number; this one is free */
	NAE_APIC_IDS = 0x80000017,
	NAE_RUN_VMPL = 0x80000018,
	NAE_SECURE_AVIC = 0x8000001A,
	NAE_CONFIGURE_INJECTION = 0x8000001B, /* COCONUT: configure interrupt injection */
	NAE_DISABLE_ALTERNATE_INJECTION = 0x8000001C, /* COCONUT: info1 = vmpl<<16 | tpr<<8 | shadow<<1 | if */
	NAE_SPECIFIC_EOI = 0x8000001D, /* COCONUT: info1 = vmpl<<16 | vector */
	NAE_HV_FEATURES = 0x8000FFFD,
	NAE_TERMINATE = 0x8000FFFE, /* info1: reason set; info2: reason code */
	NAE_UNSUPPORTED = 0x8000FFFF, /* info1: the #VC error code; info2: EXITINFO2 of it */
};

/* SW_EXITINFO1 31:0 after the VMGEXIT (section 4, table 6). */
enum nae_result {
	NAE_RESULT_OK = 0,
	NAE_RESULT_EXCEPTION = 1, /* SW_EXITINFO2 is an EVENTINJ value */
	NAE_RESULT_MALFORMED = 2, /* SW_EXITINFO2 is enum nae_malformed */
};
enum nae_malformed {
	NAE_ERR_NOT_REGISTERED = 1,
	NAE_ERR_INVALID_USAGE = 2,
	NAE_ERR_INVALID_SCRATCH = 3,
	NAE_ERR_MISSING_INPUT = 4,
	NAE_ERR_INVALID_INPUT = 5,
	NAE_ERR_INVALID_EVENT = 6,
};
#define NAE_EVENTINJ_GP (SVM_EVENT_VALID | SVM_EVENT_ERROR | SVM_EVENT_EXCEPTION | X86_GP)

/* IOIO: SW_EXITINFO1, which is SVM's EXITINFO1 (APM vol. 2, 15.10.2). */
#define NAE_IOIO_IN         BIT(0)
#define NAE_IOIO_STRING     BIT(2)
#define NAE_IOIO_REP        BIT(3)
#define NAE_IOIO_SIZE_SHIFT 4 /* 6:4: 1, 2 or 4 bytes */
#define NAE_IOIO_SIZE_8     BIT(4)
#define NAE_IOIO_SIZE_32    BIT(6)
#define NAE_IOIO_ADDRESS_64 BIT(9)
#define NAE_IOIO_PORT_SHIFT 16 /* 31:16 */

/* MSR: SW_EXITINFO1. */
#define NAE_MSR_READ  0u
#define NAE_MSR_WRITE 1u

/* AP jump table: SW_EXITINFO1. */
#define NAE_AP_JUMP_TABLE_SET 0u
#define NAE_AP_JUMP_TABLE_GET 1u

/* Page state change (4.1.6): a header and entries in the shared buffer, SW_SCRATCH points at it. */
struct nae_psc_header {
	u16 current;
	u16 end;
	u32 reserved;
};
#define NAE_PSC_ENTRIES          253
#define NAE_PSC_GFN_MASK         0x000FFFFFFFFFF000ull /* 51:12 */
#define NAE_PSC_OP_SHIFT         52                   /* 55:52 */
#define NAE_PSC_2M               BIT(56)
enum nae_psc_op {
	NAE_PSC_PRIVATE = 1,
	NAE_PSC_SHARED = 2,
	NAE_PSC_PSMASH = 3,
	NAE_PSC_UNSMASH = 4,
};
/* SW_EXITINFO2 after it: 0 success. */
#define NAE_PSC_ERR_HEADER  0x0000000100000001ull
#define NAE_PSC_ERR_ENTRY   0x0000000100000002ull

/*
 * Guest request (4.1.7): SW_EXITINFO1 and SW_EXITINFO2 are the GPAs of two shared pages, request and response (struct
 * snp_message). SW_EXITINFO2 after it: 31:0 the status of the security processor, 63:32 that of the hypervisor.
 * Extended (4.1.8): with a report request, RAX is the GPA of pages for the certificates, RBX their number; after
 * NAE_REQUEST_INVALID_LENGTH it is the number that is needed.
 */
#define NAE_REQUEST_INVALID_LENGTH (1ull << 32)
#define NAE_REQUEST_ERROR          (0x80000000ull << 32) /* generic: Linux's SNP_GUEST_VMM_ERR_GENERIC */

/* AP creation (4.1.9): SW_EXITINFO1 15:0 operation, 19:16 VMPL, 63:32 APIC ID; SW_EXITINFO2 VMSA GPA; RAX SEV_FEATURES. */
enum nae_ap_op {
	NAE_AP_CREATE_ON_INIT = 0,
	NAE_AP_CREATE = 1,
	NAE_AP_DESTROY = 2,
};
#define NAE_AP_OP_MASK       0xFFFFull
#define NAE_AP_VMPL_SHIFT    16
#define NAE_AP_VMPL_MASK     0xFull
#define NAE_AP_APIC_ID_SHIFT 32

/* #HV doorbell (4.1.10): SW_EXITINFO1; the GPA is SW_EXITINFO2. */
enum nae_doorbell_op {
	NAE_DOORBELL_GET_PREFERRED = 0,
	NAE_DOORBELL_SET = 1,
	NAE_DOORBELL_QUERY = 2,
	NAE_DOORBELL_CLEAR = 3,
};

/*
 * #HV doorbell page (COCONUT kernel/src/sev/hv_doorbell.rs), shared. The hypervisor sets what is pending, then
 * GHCB_DOORBELL_FLAG_NO_FURTHER_SIGNAL, and injects #HV unless that flag was set. The guest clears the flag, then
 * reads and clears what is pending, each field atomically.
 */
#define GHCB_DOORBELL_VECTOR       0 /* u8: pending vector of the VMPL itself, 0: none */
#define GHCB_DOORBELL_FLAGS        1 /* u8 */
#define GHCB_DOORBELL_NO_EOI       2 /* u8 */
#define GHCB_DOORBELL_VMPL_EVENTS  3 /* u8: bit n - 1 is VMPL n (COCONUT consume_host_interrupts) */
#define GHCB_DOORBELL_FLAG_NMI     0x01u
#define GHCB_DOORBELL_FLAG_MC      0x02u
#define GHCB_DOORBELL_FLAG_NO_FURTHER_SIGNAL 0x80u
#define GHCB_DOORBELL_VMPL_FIRST   64 /* three of struct ghcb_doorbell_vmpl, VMPL1 to VMPL3 */

/* Interrupts of a lower VMPL with Alternate Injection. */
struct ghcb_doorbell_vmpl {
	u32 status; /* GHCB_DOORBELL_STATUS_* */
	u32 irr[7]; /* vectors 32-255; vector 31 is in the status; valid while MULTIPLE is set */
	u32 isr[8]; /* written by the guest before it disables Alternate Injection */
};
#define GHCB_DOORBELL_STATUS_VECTOR   0xFFu   /* 7:0: the one pending vector, 31-255; level-triggered if LEVEL */
#define GHCB_DOORBELL_STATUS_NMI      0x100u
#define GHCB_DOORBELL_STATUS_LEVEL    0x400u
#define GHCB_DOORBELL_STATUS_MULTIPLE 0x4000u /* edge-triggered vectors are in irr[] */
#define GHCB_DOORBELL_STATUS_VECTOR31 0x80000000u
#define GHCB_DOORBELL_FIRST_VECTOR    31

/* #HV IPI: SW_EXITINFO1 = ICR in x2APIC form; Fixed only. It reaches the same VMPL of the destinations, by their doorbells. */

/*
 * #HV timer (feature bit 3). UNVERIFIED: no known source has the event's inputs. Here: the APIC timer of the calling VMPL
 * is set as if LVT timer, divide configuration and initial count had been written, in this order.
 */
#define NAE_TIMER_LVT_MASK      0xFFFFFFFFull /* SW_EXITINFO1 31:0: LVT timer */
#define NAE_TIMER_DIVIDE_SHIFT  32            /* SW_EXITINFO1 63:32: divide configuration */
/* SW_EXITINFO2 31:0: initial count; 0 stops the timer. On return it has the previous current count. */

/* Configure interrupt injection: SW_EXITINFO1 7:0 = vector that is raised at VMPL0 with events of lower VMPLs; 0: none. */

/* Disable alternate injection: SW_EXITINFO1. IRR, ISR and NMI of the VMPL are in the doorbell page. */
#define NAE_DISABLE_IF         BIT(0)
#define NAE_DISABLE_SHADOW     BIT(1)
#define NAE_DISABLE_TPR_SHIFT  8  /* 15:8 */
#define NAE_DISABLE_VMPL_SHIFT 16 /* 19:16 */

/* Specific EOI: SW_EXITINFO1. */
#define NAE_EOI_VECTOR_MASK  0xFFull
#define NAE_EOI_VMPL_SHIFT   16 /* 19:16 */

/* Hypervisor features: bit of the 64-bit value (MSR protocol 081, NAE 8000FFFD). */
#define HV_FEATURE_SNP                 BIT(0)
#define HV_FEATURE_AP_CREATION         BIT(1)
#define HV_FEATURE_RESTRICTED_INJECTION BIT(2)
#define HV_FEATURE_RESTRICTED_INJECTION_TIMER BIT(3) /* the #HV timer; needs bits 0-2 */
#define HV_FEATURE_APIC_ID_LIST        BIT(4)
#define HV_FEATURE_MULTI_VMPL          BIT(5)
#define HV_FEATURE_PSC                 BIT(6)
#define HV_FEATURE_TIO                 BIT(7)
#define HV_FEATURE_UNREGISTER          BIT(8)
#define HV_FEATURE_ALTERNATE_INJECTION BIT(9)
#define HV_FEATURE_ALTERNATE_INJECTION_OLD BIT(7) /* older COCONUT sources */

_Static_assert(sizeof(struct ghcb_doorbell_vmpl) == 64, "COCONUT HVExtIntInfo");
_Static_assert(GHCB_SHARED_BUFFER + GHCB_SHARED_BUFFER_SIZE == 0xFF0, "the shared buffer ends at FEF");
_Static_assert(sizeof(struct nae_psc_header) + NAE_PSC_ENTRIES * 8 == GHCB_SHARED_BUFFER_SIZE, "PSC fills the buffer");

#endif
