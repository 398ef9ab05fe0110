/* SPDX-License-Identifier: GPL-2.0-or-later */
/* AMD SVM: VMCB layout and exit codes. Source: AMD APM volume 2 (publication 24593), appendices B and C. */
#ifndef SNP_SVM_H
#define SNP_SVM_H

#include "rflags.h"
#include "svm_event.h"
#include "svm_exit.h"
#include "types.h"

/* Appendix B, table B-1: intercept vectors at 000h. */
#define SVM_INTERCEPT_CR8_WRITE BIT(24) /* in intercept_cr: writes are bits 31:16 */
#define SVM_INTERCEPT_DR7_READ  BIT(7)  /* in intercept_dr */
#define SVM_INTERCEPT_DR7_WRITE BIT(23)
#define SVM_INTERCEPT_EXC_DB    BIT(1)  /* in intercept_exception */
#define SVM_INTERCEPT_EXC_UD    BIT(6)
#define SVM_INTERCEPT_EXC_GP    BIT(13)

/* intercept_misc1 (00Ch) */
#define SVM_INTERCEPT_INTR      BIT(0)
#define SVM_INTERCEPT_NMI       BIT(1)
#define SVM_INTERCEPT_SMI       BIT(2)
#define SVM_INTERCEPT_RDTSC     BIT(14)
#define SVM_INTERCEPT_RDPMC     BIT(15)
#define SVM_INTERCEPT_CPUID     BIT(18)
#define SVM_INTERCEPT_IRET      BIT(20)
#define SVM_INTERCEPT_INVD      BIT(22)
#define SVM_INTERCEPT_PAUSE     BIT(23)
#define SVM_INTERCEPT_HLT       BIT(24)
#define SVM_INTERCEPT_INVLPGA   BIT(26)
#define SVM_INTERCEPT_IOIO      BIT(27)
#define SVM_INTERCEPT_MSR       BIT(28)
#define SVM_INTERCEPT_SHUTDOWN  BIT(31)

/* intercept_misc2 (010h) */
#define SVM_INTERCEPT_VMRUN     BIT(0)
#define SVM_INTERCEPT_VMMCALL   BIT(1)
#define SVM_INTERCEPT_VMLOAD    BIT(2)
#define SVM_INTERCEPT_VMSAVE    BIT(3)
#define SVM_INTERCEPT_STGI      BIT(4)
#define SVM_INTERCEPT_CLGI      BIT(5)
#define SVM_INTERCEPT_SKINIT    BIT(6)
#define SVM_INTERCEPT_RDTSCP    BIT(7)
#define SVM_INTERCEPT_WBINVD    BIT(9)
#define SVM_INTERCEPT_MONITOR   BIT(10)
#define SVM_INTERCEPT_MWAIT     BIT(11)

/* EXITINFO1 of SVM_EXIT_NPF (APM 15.25.6, 15.36.10) */
#define SVM_NPF_WRITE      BIT(1)
#define SVM_NPF_USER       BIT(2)
#define SVM_NPF_FETCH      BIT(4)
#define SVM_NPF_RMP        BIT(31) /* the RMP forbids it */
#define SVM_NPF_FINAL      BIT(32) /* while translating the guest's final address */
#define SVM_NPF_TABLE_WALK BIT(33) /* while walking the guest's page tables */
#define SVM_NPF_ENC        BIT(34) /* a private access */
#define SVM_NPF_SIZEM      BIT(35) /* PVALIDATE or RMPADJUST of 4 KiB on a 2 MiB entry */
#define SVM_NPF_VMPL       BIT(36) /* the permissions of the VMPL forbid it */
#define SVM_NPF_SNP        (SVM_NPF_RMP | SVM_NPF_ENC | SVM_NPF_SIZEM | SVM_NPF_VMPL)

/* Virtual interrupt control at 060h (APM appendix B; the VMSA's vintr_ctrl has the same low bits) */
#define SVM_V_CR8           0x0Full
#define SVM_V_IRQ           BIT(8)
#define SVM_V_PRIO_SHIFT    16
#define SVM_V_IGN_TPR       BIT(20)
#define SVM_V_INTR_MASKING  BIT(24)
#define SVM_V_VECTOR_SHIFT  32

#define SVM_NESTED_PAGING BIT(0) /* nested_control (090h) */

#define MSR_TSC         0x10
#define MSR_XSS         0xDA0
#define MSR_EFER        0xC0000080
#define MSR_VM_CR       0xC0010114
#define MSR_VM_HSAVE_PA 0xC0010117

#define EFER_LME  BIT(8)
#define EFER_LMA  BIT(10)
#define EFER_NXE  BIT(11)
#define EFER_SVME BIT(12)
#define EFER_RESERVED (~0xFD01ull) /* all but SCE, LME, LMA, NXE, SVME, LMSLE, FFXSR, TCE */

#define CR0_PE BIT(0)
#define CR0_TS BIT(3)
#define CR0_WP BIT(16)
#define CR0_PG BIT(31)
#define CR4_PSE     BIT(4)
#define CR4_PAE     BIT(5)
#define CR4_PGE     BIT(7)
#define CR4_OSFXSR  BIT(9)
#define CR4_LA57    BIT(12)
#define CR4_OSXSAVE BIT(18)
#define CR4_SMEP    BIT(20)
#define CR4_SMAP    BIT(21)

#define DR6_BS    BIT(14)  /* a single step (APM vol. 2, 13.1.1.3) */
/* APM vol. 2, table 14-1. */
#define CR0_RESET 0x60000010ull /* CD, NW, ET */
#define DR6_RESET 0xFFFF0FF0ull
#define DR7_RESET 0x400ull
#define PAT_RESET 0x0007040600070406ull

struct vmcb_segment {
	u16 selector;
	u16 attributes;
	u32 limit;
	u64 base;
};

struct vmcb_control {
	u32 intercept_cr;        /* 000 */
	u32 intercept_dr;        /* 004 */
	u32 intercept_exception; /* 008 */
	u32 intercept_misc1;     /* 00C */
	u32 intercept_misc2;     /* 010 */
	u8 reserved_014[0x40 - 0x14];
	u64 iopm_base;           /* 040 */
	u64 msrpm_base;          /* 048 */
	u64 tsc_offset;          /* 050 */
	u32 asid;                /* 058 */
	u32 tlb_control;         /* 05C */
	u64 vintr;               /* 060 */
	u64 interrupt_shadow;    /* 068 */
	u64 exit_code;           /* 070 */
	u64 exit_info1;          /* 078 */
	u64 exit_info2;          /* 080 */
	u64 exit_int_info;       /* 088 */
	u64 nested_control;      /* 090 */
	u8 reserved_098[0xA8 - 0x98];
	u64 event_inj;           /* 0A8 */
	u64 nested_cr3;          /* 0B0 */
	u8 reserved_0b8[0x400 - 0xB8];
};

/* The state save area; the first 298h bytes of a VMSA have the same layout (APM table B-2, B-4). */
struct vmcb_save {
	struct vmcb_segment es, cs, ss, ds, fs, gs, gdtr, ldtr, idtr, tr; /* 000-09F */
	u8 reserved_0a0[0xCB - 0xA0];
	u8 cpl;                  /* 0CB */
	u32 reserved_0cc;
	u64 efer;                /* 0D0 */
	u8 reserved_0d8[0x148 - 0xD8];
	u64 cr4;                 /* 148 */
	u64 cr3;                 /* 150 */
	u64 cr0;                 /* 158 */
	u64 dr7;                 /* 160 */
	u64 dr6;                 /* 168 */
	u64 rflags;              /* 170 */
	u64 rip;                 /* 178 */
	u8 reserved_180[0x1D8 - 0x180];
	u64 rsp;                 /* 1D8 */
	u8 reserved_1e0[0x1F8 - 0x1E0];
	u64 rax;                 /* 1F8 */
	u8 reserved_200[0x240 - 0x200]; /* STAR ... SYSENTER_EIP: VMLOAD and VMSAVE only */
	u64 cr2;                 /* 240 */
	u8 reserved_248[0x268 - 0x248];
	u64 g_pat;               /* 268 */
	u8 reserved_270[0xC00 - 0x270];
};

struct vmcb {
	struct vmcb_control control;
	struct vmcb_save save;
};

_Static_assert(sizeof(struct vmcb) == 4096, "a VMCB is one page");
_Static_assert(offsetof(struct vmcb_control, event_inj) == 0xA8, "EVENTINJ");
_Static_assert(offsetof(struct vmcb, save.cpl) == 0x4CB, "CPL");
_Static_assert(offsetof(struct vmcb, save.rip) == 0x578, "RIP");
_Static_assert(offsetof(struct vmcb, save.cr2) == 0x640, "CR2");

#endif
