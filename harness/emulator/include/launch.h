/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The launch list: what the loader of the guest (harness/snp_harness/platforms/launch_list.py, which plays QEMU's part)
 * has the hypervisor launch, in order. It lies with its data in a DIMM of the emulator's, which no guest reaches: what is
 * measured stays there. All numbers are little endian.
 *
 * Of an SNP guest two more DIMMs follow, each with a copy of all of it, of which pages that nothing uses cost nothing. In
 * the first the guest has its firmware's private memory, in the second what shared accesses to it see.
 */
#ifndef SNP_LAUNCH_H
#define SNP_LAUNCH_H

#include "psp.h"
#include "types.h"

#define LAUNCH_MAGIC 0x31434E4C504E53ull /* "SNPLNC1" */

enum launch_copy { LAUNCH_KEPT = 0, LAUNCH_PRIVATE = 1, LAUNCH_SHARED = 2 };

enum launch_kind {
	/* enum psp_page: that SNP_LAUNCH_UPDATE of the pages. `offset`: their contents, 0: as the memory has them. */
	LAUNCH_PAGES_LAST = PSP_PAGE_CPUID,
	/* Before all others: memory of the guest that QEMU's machine does not have. It starts as zeros, or */
	LAUNCH_MEMORY = 0x10,
	/* up to 4 GiB with `offset`. Its last 128 KiB appear below 1 MiB too. */
	LAUNCH_FIRMWARE = 0x11,
};

#define LAUNCH_NO_HASHES (~0ull)

struct launch_entry {
	u32 kind;   /* enum launch_kind */
	u32 vcpu;   /* PSP_PAGE_VMSA: whose it is */
	u64 gpa;
	u64 pages;
	u64 offset; /* from the list's start, a multiple of 4 KiB */
	u64 hashes; /* of pages: those of a kernel go this far behind gpa (QEMU's kernel-hashes=on), or LAUNCH_NO_HASHES */
};

struct launch_list {
	u64 magic; /* LAUNCH_MAGIC */
	u64 size;  /* bytes, with the data */
	u64 policy;
	struct psp_finish finish;
	u64 entries;
	struct launch_entry entry[];
};

_Static_assert(sizeof(struct launch_entry) == 40, "no padding");

#endif
