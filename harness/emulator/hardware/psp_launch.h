/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The launch of a guest by the security processor (publication 56860, sections 8.16 to 8.18). Pure. */
#ifndef SNP_HW_PSP_LAUNCH_H
#define SNP_HW_PSP_LAUNCH_H

#include "psp.h"
#include "sha384.h"

#define PSP_RUNS 32 /* that wait to be measured */

/* Consecutive pages that were launched. `contents` stay as they are. */
struct psp_run {
	enum psp_page type;
	u64 gpa;
	u64 pages;
	const u8 *contents;
};

/*
 * What the guest context has of the launch; an attestation report is made of it. SHA-384 of a firmware takes QEMU as long
 * as the guest's first 80 million instructions: pages are measured when something asks for the digest.
 */
struct psp_launch {
	u8 digest[SHA384_SIZE]; /* without the runs that wait: psp_launch_measure() */
	struct psp_run run[PSP_RUNS];
	u32 runs;
	u64 policy;
	bool running; /* finished: no page follows */
	struct psp_finish finish; /* as it was accepted */
	u64 repeated; /* 8 bytes that a page consisted of, again and again, */
	u8 repeated_hash[SHA384_SIZE]; /* if it was hashed: firmware has many of FFh */
	bool repeated_known;
};

void psp_launch_begin(struct psp_launch *launch, u64 policy);
/* `contents`: measured for PSP_PAGE_NORMAL and PSP_PAGE_VMSA. They must not change afterwards. */
enum psp_status psp_launch_pages(struct psp_launch *launch, enum psp_page type, u64 gpa, u64 pages, const u8 *contents);
void psp_launch_measure(struct psp_launch *launch); /* `digest` is that of all pages so far */
enum psp_status psp_launch_finish(struct psp_launch *launch, const struct psp_finish *finish);

#endif
