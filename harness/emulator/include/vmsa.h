/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * VM save area of an SEV-SNP vCPU.
 * Source: AMD64 APM vol. 2 (24593), table B-4; reset values: vol. 2, table 14-1 (processor initialization).
 */
#ifndef SNP_VMSA_H
#define SNP_VMSA_H

#include "types.h"

struct vmsa_segment {
	u16 selector;
	u16 attributes; /* VMSA_SEG_* */
	u32 limit;
	u64 base;
};

/* Segment attributes: descriptor bits 55:52 and 47:40 packed (APM vol. 2, 15.5.1). */
#define VMSA_SEG_S         0x010
#define VMSA_SEG_P         0x080

/* vintr_ctrl, 3B8 (table B-4; COCONUT cpuarch/src/vmsa.rs VIntrCtrl). */
#define VMSA_VINTR_TPR_MASK     0xFFull
#define VMSA_VINTR_IRQ          BIT(8)
#define VMSA_VINTR_GIF          BIT(9)
#define VMSA_VINTR_SHADOW       BIT(10)
#define VMSA_VINTR_PRIO_SHIFT   16 /* 19:16 */
#define VMSA_VINTR_PRIO_MASK    0xFull
#define VMSA_VINTR_IGN_TPR      BIT(20)
#define VMSA_VINTR_VECTOR_SHIFT 32 /* 39:32 */
#define VMSA_VINTR_VECTOR_MASK  0xFFull
#define VMSA_VINTR_BUSY         BIT(63) /* guest_exit_int_info waits for software; until it clears this, VMRUN fails */

#define VMSA_EFER_SVME BIT(12) /* clear: the VMSA cannot be run (APM vol. 2, 15.36.12) */

struct vmsa {
	struct vmsa_segment es;   /* 000 */
	struct vmsa_segment cs;   /* 010 */
	struct vmsa_segment ss;   /* 020 */
	struct vmsa_segment ds;   /* 030 */
	struct vmsa_segment fs;   /* 040 */
	struct vmsa_segment gs;   /* 050 */
	struct vmsa_segment gdtr; /* 060 */
	struct vmsa_segment ldtr; /* 070 */
	struct vmsa_segment idtr; /* 080 */
	struct vmsa_segment tr;   /* 090 */
	u64 pl0_ssp;              /* 0A0 */
	u64 pl1_ssp;
	u64 pl2_ssp;
	u64 pl3_ssp;
	u64 u_cet;                /* 0C0 */
	u16 reserved_0c8;
	u8 vmpl;                  /* 0CA */
	u8 cpl;                   /* 0CB */
	u32 reserved_0cc;
	u64 efer;                 /* 0D0 */
	u8 reserved_0d8[104];
	u64 xss;                  /* 140 */
	u64 cr4;                  /* 148 */
	u64 cr3;                  /* 150 */
	u64 cr0;                  /* 158 */
	u64 dr7;                  /* 160 */
	u64 dr6;                  /* 168 */
	u64 rflags;               /* 170 */
	u64 rip;                  /* 178 */
	u64 dr0;                  /* 180 */
	u64 dr1;
	u64 dr2;
	u64 dr3;
	u64 dr0_addr_mask;        /* 1A0 */
	u64 dr1_addr_mask;
	u64 dr2_addr_mask;
	u64 dr3_addr_mask;
	u8 reserved_1c0[24];
	u64 rsp;                  /* 1D8 */
	u64 s_cet;
	u64 ssp;
	u64 isst_addr;
	u64 rax;                  /* 1F8 */
	u64 star;                 /* 200 */
	u64 lstar;
	u64 cstar;
	u64 sfmask;
	u64 kernel_gs_base;       /* 220 */
	u64 sysenter_cs;
	u64 sysenter_esp;
	u64 sysenter_eip;
	u64 cr2;                  /* 240 */
	u8 reserved_248[32];
	u64 g_pat;                /* 268 */
	u64 dbgctl;               /* 270 */
	u64 br_from;
	u64 br_to;
	u64 last_excp_from;
	u64 last_excp_to;         /* 290 */
	u8 reserved_298[80];
	u32 pkru;                 /* 2E8 */
	u32 tsc_aux;              /* 2EC */
	u64 guest_tsc_scale;      /* 2F0 */
	u64 guest_tsc_offset;     /* 2F8 */
	u64 reg_prot_nonce;       /* 300 */
	u64 rcx;                  /* 308 */
	u64 rdx;                  /* 310 */
	u64 rbx;                  /* 318 */
	u64 reserved_320;
	u64 rbp;                  /* 328 */
	u64 rsi;
	u64 rdi;
	u64 r8;                   /* 340 */
	u64 r9;
	u64 r10;
	u64 r11;
	u64 r12;
	u64 r13;
	u64 r14;
	u64 r15;                  /* 378 */
	u8 reserved_380[16];
	u64 guest_exit_info_1;    /* 390 */
	u64 guest_exit_info_2;    /* 398 */
	u64 guest_exit_int_info;  /* 3A0: SVM_EVENT_* */
	u64 guest_nrip;           /* 3A8 */
	u64 sev_features;         /* 3B0: SEV_FEATURES_* */
	u64 vintr_ctrl;           /* 3B8: VMSA_VINTR_* */
	u64 guest_exit_code;      /* 3C0: SVM_EXIT_* */
	u64 virtual_tom;          /* 3C8 */
	u64 tlb_id;               /* 3D0 */
	u64 pcpu_id;              /* 3D8 */
	u64 event_inj;            /* 3E0: SVM_EVENT_* */
	u64 xcr0;                 /* 3E8 */
	u8 reserved_3f0[16];
	u64 x87_dp;               /* 400 */
	u32 mxcsr;                /* 408 */
	u16 x87_ftw;              /* 40C */
	u16 x87_fsw;              /* 40E */
	u16 x87_fcw;              /* 410 */
	u16 x87_fop;              /* 412 */
	u16 x87_ds;               /* 414 */
	u16 x87_cs;               /* 416 */
	u64 x87_rip;              /* 418 */
	u8 fpreg_x87[80];         /* 420 */
	u8 fpreg_xmm[256];        /* 470 */
	u8 fpreg_ymm[256];        /* 570 */
	u8 reserved_670[0x1000 - 0x670]; /* LBR stack and IBS state: not modelled */
};

#define VMSA_AT(field, offset) \
	_Static_assert(offsetof(struct vmsa, field) == (offset), #field " is at " #offset)
VMSA_AT(tr, 0x090);
VMSA_AT(vmpl, 0x0CA);
VMSA_AT(cpl, 0x0CB);
VMSA_AT(efer, 0x0D0);
VMSA_AT(xss, 0x140);
VMSA_AT(cr0, 0x158);
VMSA_AT(rip, 0x178);
VMSA_AT(dr0_addr_mask, 0x1A0);
VMSA_AT(rsp, 0x1D8);
VMSA_AT(rax, 0x1F8);
VMSA_AT(cr2, 0x240);
VMSA_AT(g_pat, 0x268);
VMSA_AT(last_excp_to, 0x290);
VMSA_AT(pkru, 0x2E8);
VMSA_AT(rcx, 0x308);
VMSA_AT(rbp, 0x328);
VMSA_AT(r15, 0x378);
VMSA_AT(guest_exit_info_1, 0x390);
VMSA_AT(sev_features, 0x3B0);
VMSA_AT(vintr_ctrl, 0x3B8);
VMSA_AT(guest_exit_code, 0x3C0);
VMSA_AT(event_inj, 0x3E0);
VMSA_AT(xcr0, 0x3E8);
VMSA_AT(x87_dp, 0x400);
VMSA_AT(x87_fcw, 0x410);
VMSA_AT(fpreg_ymm, 0x570);
_Static_assert(sizeof(struct vmsa) == 4096, "the VMSA is one page");

#endif
