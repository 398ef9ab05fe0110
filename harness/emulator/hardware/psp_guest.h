/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the security processor keeps of a guest (publication 56860, 5.1, guest context). Pure. */
#ifndef SNP_HW_PSP_GUEST_H
#define SNP_HW_PSP_GUEST_H

#include "psp_launch.h"
#include "snp_secrets.h"
#include "types.h"

struct psp_guest {
	struct psp_launch launch;
	u8 vmpck[SNP_VMPCKS][SNP_VMPCK_SIZE];
	u64 messages[SNP_VMPCKS]; /* with each of these keys: requests and responses so far */
	u8 vmrk[32]; /* root of keys that only this guest gets */
	u8 report_id[32];
};

/* Its keys, which a real security processor makes at random: here they follow from the run's seed. */
void psp_guest_begin(struct psp_guest *guest, u64 seed);
void psp_guest_secrets(const struct psp_guest *guest, u32 cpuid_signature, struct snp_secrets *page);

#endif
