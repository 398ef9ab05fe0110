/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Messages between a guest and the security processor (SNP_GUEST_REQUEST), and the attestation report.
 * Source: AMD publication 56860 (SEV-SNP firmware ABI), chapter 7 and section 8.27.
 */
#ifndef SNP_MESSAGE_H
#define SNP_MESSAGE_H

#include "types.h"

#define SNP_MESSAGE_HEADER_VERSION 1
#define SNP_MESSAGE_VERSION        1 /* of every payload here */
#define SNP_MESSAGE_ALGORITHM      1 /* AES-256-GCM */
#define SNP_MESSAGE_ALIGNMENT      16 /* of a payload's size */

enum snp_message_type {
	SNP_MESSAGE_CPUID_REQUEST = 1,
	SNP_MESSAGE_KEY_REQUEST = 3,
	SNP_MESSAGE_KEY_RESPONSE = 4,
	SNP_MESSAGE_REPORT_REQUEST = 5,
	SNP_MESSAGE_REPORT_RESPONSE = 6,
	SNP_MESSAGE_EXPORT_REQUEST = 7,
	SNP_MESSAGE_TSC_REQUEST = 17,
};

struct snp_message_header {
	u8 tag[32];    /* of the AEAD, in the first 16 bytes */
	u64 sequence;  /* a request's is odd, its response's the next one; and the IV, with 4 bytes of 0 */
	u8 reserved1[8];
	/* From here to the end: authenticated, not encrypted. */
	u8 algorithm;
	u8 header_version;
	u16 header_size;
	u8 type;       /* enum snp_message_type */
	u8 version;
	u16 size;      /* of the payload */
	u32 reserved2;
	u8 vmpck;      /* the number of the key */
	u8 reserved3[35];
};
#define SNP_MESSAGE_AAD      offsetof(struct snp_message_header, algorithm)
#define SNP_MESSAGE_AAD_SIZE (sizeof(struct snp_message_header) - SNP_MESSAGE_AAD)

struct snp_message {
	struct snp_message_header header;
	u8 payload[PAGE_SIZE - sizeof(struct snp_message_header)];
};

/* Which key a report is signed with, or a key is derived from. */
#define SNP_KEY_SELECT_MASK 3u
enum snp_key_select { SNP_KEY_VLEK_OR_VCEK = 0, SNP_KEY_VCEK = 1, SNP_KEY_VLEK = 2 };

struct snp_report_request {
	u8 report_data[64];
	u32 vmpl;       /* not more privileged than the key's */
	u32 key_select; /* 1:0 enum snp_key_select */
	u8 reserved[24];
};

/* TCB versions are 0 here. */
struct snp_report {
	u32 version;
	u32 guest_svn;
	u64 policy;
	u8 family_id[16];
	u8 image_id[16];
	u32 vmpl;
	u32 signature_algorithm;
	u64 current_tcb;
	u64 platform_info;
	u32 flags; /* SNP_REPORT_* */
	u32 reserved1;
	u8 report_data[64];
	u8 measurement[48];
	u8 host_data[32];
	u8 id_key_digest[48];
	u8 author_key_digest[48];
	u8 report_id[32];
	u8 report_id_ma[32]; /* of the migration agent; all ones: there is none */
	u64 reported_tcb;
	u8 reserved2[24];
	u8 chip_id[64];
	u64 committed_tcb;
	u8 current_build, current_minor, current_major, reserved3;
	u8 committed_build, committed_minor, committed_major, reserved4;
	u64 launch_tcb;
	u8 reserved5[168];
	/* Little-endian numbers, of all above. */
	u8 signature_r[72];
	u8 signature_s[72];
	u8 reserved6[368];
};
#define SNP_REPORT_VERSION         2
#define SNP_REPORT_ECDSA_P384      1 /* with SHA-384 */
#define SNP_REPORT_AUTHOR_KEY_EN   BIT(0) /* bits 4:2 are 0: the VCEK signs */
#define SNP_REPORT_SIGNED          offsetof(struct snp_report, signature_r)

struct snp_report_response {
	u32 status; /* enum psp_status */
	u32 size;
	u8 reserved[24];
	struct snp_report report;
};

/* The fields that are mixed into a derived key, if the request selects them; the VMPL is always. */
#define SNP_KEY_FIELD_POLICY      BIT(0)
#define SNP_KEY_FIELD_IMAGE_ID    BIT(1)
#define SNP_KEY_FIELD_FAMILY_ID   BIT(2)
#define SNP_KEY_FIELD_MEASUREMENT BIT(3)
#define SNP_KEY_FIELD_GUEST_SVN   BIT(4)
#define SNP_KEY_FIELD_TCB         BIT(5)
#define SNP_KEY_FIELDS            0x3Full

#define SNP_KEY_ROOT_VMRK         BIT(0) /* of root_key_select: the guest's own root key, not the VCEK */
#define SNP_KEY_ROOT_SELECT_SHIFT 1      /* 2:1 enum snp_key_select */

struct snp_key_request {
	u32 root_key_select;
	u32 reserved;
	u64 fields; /* SNP_KEY_FIELD_* */
	u32 vmpl;   /* not more privileged than the key's */
	u32 guest_svn;
	u64 tcb;
};

struct snp_key_response {
	u32 status; /* enum psp_status */
	u8 reserved[28];
	u8 key[32];
};

_Static_assert(sizeof(struct snp_message_header) == 0x60 && SNP_MESSAGE_AAD == 0x30, "publication 56860");
_Static_assert(sizeof(struct snp_message) == PAGE_SIZE, "one page");
_Static_assert(sizeof(struct snp_report_request) == 0x60, "publication 56860");
_Static_assert(sizeof(struct snp_report) == 0x4A0 && SNP_REPORT_SIGNED == 0x2A0, "publication 56860");
_Static_assert(offsetof(struct snp_report, chip_id) == 0x1A0 && offsetof(struct snp_report, measurement) == 0x90, "publication 56860");
_Static_assert(sizeof(struct snp_report_response) == 0x4C0, "publication 56860");
_Static_assert(sizeof(struct snp_key_request) == 0x20 && sizeof(struct snp_key_response) == 0x40, "publication 56860");

#endif
