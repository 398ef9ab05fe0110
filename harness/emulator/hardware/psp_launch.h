/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The launch of a guest by the security processor (publication 56860, sections 8.16 to 8.18). Pure. */
#ifndef SNP_HW_PSP_LAUNCH_H
#define SNP_HW_PSP_LAUNCH_H

#include "psp.h"
#include "sha384.h"

/* What the guest context has of the launch; an attestation report is made of it. */
struct psp_launch {
	u8 digest[SHA384_SIZE];
	u64 policy;
	u64 pages; /* launched so far */
	bool running; /* finished: no page follows */
	struct psp_finish finish; /* as it was accepted */
	u64 repeated; /* 8 bytes that a page consisted of, again and again, */
	u8 repeated_hash[SHA384_SIZE]; /* if it was hashed: firmware has many of FFh */
	bool repeated_known;
};

void psp_launch_begin(struct psp_launch *launch, u64 policy);
/* One page, 4 KiB. `contents`: measured for PSP_PAGE_NORMAL and PSP_PAGE_VMSA. */
enum psp_status psp_launch_page(struct psp_launch *launch, enum psp_page type, u64 gpa, const void *contents);
enum psp_status psp_launch_finish(struct psp_launch *launch, const struct psp_finish *finish);

#endif
