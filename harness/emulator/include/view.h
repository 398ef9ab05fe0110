/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where the hardware has what a debugger asks for: the guest's memory, its RMP, its registers. It is the page before the
 * last one of the emulator's RAM, which no guest reaches. The harness reads it by QEMU's monitor. Addresses are physical.
 */
#ifndef SNP_VIEW_H
#define SNP_VIEW_H

#include "types.h"

#define VIEW_MAGIC 0x3157454956504E53ull /* "SNPVIEW1" */
#define VIEW_SLOTS 8
#define VIEW_CPUS  16
#define VIEW_VMPLS 4

/* A range of guest memory. */
struct view_slot {
	u64 gpa;
	u64 size;
	u64 spa;        /* of the private pages */
	u64 shared_spa; /* of the shared ones */
	u64 nested;     /* a byte a page: enum hw_nested and HW_UNMAPPED of hardware/hw.h */
	u64 rmp;        /* struct rmp_entry of hardware/rmp.h a page */
};

struct view_cpu {
	u64 vmpl;             /* a byte: the one that runs */
	u64 vmcb[VIEW_VMPLS];
	u64 gpr[VIEW_VMPLS];  /* 16 words in encoding order; RAX and RSP are in the VMCB */
};

struct view {
	u64 magic;
	u64 snp;     /* 1: the RMP is checked */
	u64 slots;
	u64 cpus;
	u64 running; /* the vCPU on the processor */
	u64 left;    /* from this pc of the emulator on */
	u64 saved;   /* to this one, the guest's general registers are on their way to `gpr` */
	u64 in_place; /* struct in_place, for the plugin in QEMU */
	struct view_slot slot[VIEW_SLOTS];
	struct view_cpu cpu[VIEW_CPUS];
};

_Static_assert(sizeof(struct view) <= 4096, "a page");

#endif
