/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The secrets page, which the security processor fills at launch.
 * Source: AMD publication 56860 (SEV-SNP firmware ABI), 8.17.2.5; the SVSM's fields: publication 58019, section 3.
 */
#ifndef SNP_SECRETS_H
#define SNP_SECRETS_H

#include "types.h"

#define SNP_SECRETS_VERSION 3
#define SNP_VMPCKS          4  /* VM platform communication keys: one a VMPL */
#define SNP_VMPCK_SIZE      32 /* AES-256 */

struct snp_secrets {
	u32 version;
	u32 imi_en; /* bit 0: launched by a migration image */
	u32 fms;    /* family, model, stepping: CPUID 1 EAX */
	u32 reserved1;
	u8 gosvw[16]; /* guest OS visible workarounds, from the hypervisor */
	u8 vmpck[SNP_VMPCKS][SNP_VMPCK_SIZE];
	u8 guest_os[96]; /* free for the guest's software */
	u8 vmsa_tweak_bitmap[64];
	/* For the guest's software as well: an SVSM tells the guest of itself. */
	u64 svsm_base;
	u64 svsm_size;   /* 0: there is none */
	u64 svsm_caa;
	u32 svsm_max_version;
	u8 svsm_guest_vmpl;
	u8 reserved2[3];
	u32 tsc_factor; /* by how much the mean TSC frequency is below the nominal one, in 0.001 % */
	u8 reserved3[3740];
};

_Static_assert(offsetof(struct snp_secrets, vmpck) == 0x20, "publication 56860");
_Static_assert(offsetof(struct snp_secrets, vmsa_tweak_bitmap) == 0x100, "publication 56860");
_Static_assert(offsetof(struct snp_secrets, svsm_base) == 0x140, "publication 58019");
_Static_assert(offsetof(struct snp_secrets, svsm_guest_vmpl) == 0x15C, "publication 58019");
_Static_assert(offsetof(struct snp_secrets, tsc_factor) == 0x160, "publication 56860");
_Static_assert(sizeof(struct snp_secrets) == PAGE_SIZE, "one page");

#endif
