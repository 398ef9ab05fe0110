/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Numbers and structures of the security processor's launch commands.
 * Source: AMD publication 56860 (SEV-SNP firmware ABI), sections 8.16 to 8.18 and table "Status codes".
 */
#ifndef SNP_PSP_H
#define SNP_PSP_H

#include "types.h"

/* PAGE_TYPE of SNP_LAUNCH_UPDATE. */
enum psp_page {
	PSP_PAGE_NORMAL = 1,
	PSP_PAGE_VMSA = 2,
	PSP_PAGE_ZERO = 3,
	PSP_PAGE_UNMEASURED = 4,
	PSP_PAGE_SECRETS = 5,
	PSP_PAGE_CPUID = 6,
};

enum psp_status {
	PSP_SUCCESS = 0x00,
	PSP_INVALID_GUEST_STATE = 0x02,
	PSP_POLICY_FAILURE = 0x07,
	PSP_INVALID_ADDRESS = 0x09,
	PSP_BAD_MEASUREMENT = 0x0B,
	PSP_INVALID_PARAM = 0x16,
	PSP_AEAD_OFLOW = 0x1D, /* the sequence number of a guest's message is not the next one */
	PSP_INVALID_KEY = 0x27,
};

#define PSP_DIGEST_SIZE 48 /* SHA-384 */
#define PSP_POLICY_ONE  BIT(17) /* reserved, must be one */
#define PSP_VMSA_GPA    0xFFFFFFFFF000ull /* KVM's address of every VMSA of a launch */

struct psp_id_block {
	u8 launch_digest[PSP_DIGEST_SIZE];
	u8 family_id[16];
	u8 image_id[16];
	u32 version;
	u32 guest_svn;
	u64 policy;
};

/*
 * What SNP_LAUNCH_FINISH is given, with the digests of the ID block's keys in place of the keys: its signatures are not
 * checked here.
 */
struct psp_finish {
	struct psp_id_block id_block;
	u8 id_key_digest[PSP_DIGEST_SIZE];
	u8 author_key_digest[PSP_DIGEST_SIZE];
	u8 host_data[32];
	u32 id_block_en;
	u32 author_key_en;
};

_Static_assert(sizeof(struct psp_id_block) == 96, "publication 56860, table 72");
_Static_assert(sizeof(struct psp_finish) == 232, "no padding");

#endif
