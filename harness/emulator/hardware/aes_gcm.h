/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * AES-256-GCM (FIPS 197, NIST SP 800-38D) with an IV of 96 bits. Pure. Its time depends on the data: only a test's keys.
 */
#ifndef SNP_HW_AES_GCM_H
#define SNP_HW_AES_GCM_H

#include "types.h"

#define AES_GCM_KEY 32
#define AES_GCM_IV  12
#define AES_GCM_TAG 16

struct aes_gcm_input {
	const u8 *key;  /* AES_GCM_KEY bytes */
	const u8 *iv;   /* AES_GCM_IV bytes */
	const void *aad; /* authenticated, not encrypted */
	u32 aad_size;
};

/* In place. */
void aes_gcm_seal(const struct aes_gcm_input *input, u8 *text, u32 size, u8 tag[AES_GCM_TAG]);
bool aes_gcm_open(const struct aes_gcm_input *input, u8 *text, u32 size, const u8 tag[AES_GCM_TAG]); /* false: it stays as it is */

#endif
