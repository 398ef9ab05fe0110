/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * SVSM calls: protocols, results, structures.
 * Source: AMD publication 58019 (Secure VM Service Module for SEV-SNP Guests); the APIC protocol from
 * COCONUT kernel/src/protocols/apic.rs, kernel/src/cpu/apic.rs and cpuarch/src/x86apic.rs.
 */
#ifndef SNP_SVSM_H
#define SNP_SVSM_H

#include "types.h"

/* A call (section 4): RAX = protocol << 32 | call; arguments RCX, RDX, R8; result in RAX. */
#define SVSM_CALL(protocol, call) (((u64)(protocol) << 32) | (call))

enum svsm_protocol {
	SVSM_PROTOCOL_CORE = 0,
	SVSM_PROTOCOL_ATTESTATION = 1,
	SVSM_PROTOCOL_VTPM = 2,
	SVSM_PROTOCOL_APIC = 3,
	SVSM_PROTOCOL_UEFI_MM = 4,
};

/* Result codes in RAX (table 4). */
enum svsm_result {
	SVSM_SUCCESS = 0,
	SVSM_ERR_INCOMPLETE = 0x80000000,
	SVSM_ERR_UNSUPPORTED_PROTOCOL = 0x80000001,
	SVSM_ERR_UNSUPPORTED_CALL = 0x80000002,
	SVSM_ERR_INVALID_ADDRESS = 0x80000003,
	SVSM_ERR_INVALID_FORMAT = 0x80000004,
	SVSM_ERR_INVALID_PARAMETER = 0x80000005,
	SVSM_ERR_INVALID_REQUEST = 0x80000006,
	SVSM_ERR_BUSY = 0x80000007,
	SVSM_ERR_PROTOCOL_BASE = 0x80001000,
};

/* Calling area, CAA (table 2): the start of a page; the rest of the page is a call's buffer. */
struct svsm_caa {
	u8 call_pending;
	u8 mem_available;
	u8 no_eoi_required; /* with Alternate Injection (COCONUT) */
	u8 reserved[5];
	u8 buffer[4096 - 8];
};
#define SVSM_CAA_CALL_PENDING    0
#define SVSM_CAA_NO_EOI_REQUIRED 2
#define SVSM_CAA_HEADER_SIZE     8

/* Core protocol, 0 (section 6). */
enum svsm_core_call {
	SVSM_CORE_REMAP_CA = 0,
	SVSM_CORE_PVALIDATE = 1,
	SVSM_CORE_CREATE_VCPU = 2,
	SVSM_CORE_DELETE_VCPU = 3,
	SVSM_CORE_DEPOSIT_MEM = 4,
	SVSM_CORE_WITHDRAW_MEM = 5,
	SVSM_CORE_QUERY_PROTOCOL = 6,
	SVSM_CORE_CONFIGURE_VTOM = 7,
};
#define SVSM_CORE_VERSION_MIN 1u
#define SVSM_CORE_VERSION_MAX 1u

/* PVALIDATE: RCX = GPA of this; it and its entries stay inside one page. */
struct svsm_pvalidate_header {
	u16 entries;
	u16 next;
	u32 reserved;
};
#define SVSM_PVALIDATE_SIZE_MASK   0x3ull /* 1:0: 0 4 KiB, 1 2 MiB */
#define SVSM_PVALIDATE_VALIDATE    BIT(2)
#define SVSM_PVALIDATE_IGNORE_CF   BIT(3)
#define SVSM_PVALIDATE_GPA_MASK    (~0xFFFull)
/* Result: PROTOCOL_BASE + n; n is PVALIDATE's EAX, or 10 when the carry flag says "unchanged". */
#define SVSM_PVALIDATE_UNCHANGED   (SVSM_ERR_PROTOCOL_BASE + 0x10)

/* QUERY_PROTOCOL: RCX in = protocol << 32 | version; out = max << 32 | min, 0 when not supported. */
#define SVSM_QUERY_PROTOCOL_SHIFT 32
#define SVSM_QUERY_MAX_SHIFT      32

/* CONFIGURE_VTOM: RCX bit 0 = query. */
#define SVSM_VTOM_QUERY BIT(0)

/* APIC protocol, 3. */
enum svsm_apic_call {
	SVSM_APIC_QUERY_FEATURES = 0,
	SVSM_APIC_CONFIGURE = 1,
	SVSM_APIC_READ_REGISTER = 2,
	SVSM_APIC_WRITE_REGISTER = 3,
	SVSM_APIC_CONFIGURE_VECTOR = 4,
};
#define SVSM_APIC_VERSION_MIN 1u
#define SVSM_APIC_VERSION_MAX 1u

/* RCX of QUERY_FEATURES. COCONUT has none. The timer is from the preliminary specification, its bit UNVERIFIED. */
#define SVSM_APIC_FEATURE_TIMER BIT(0) /* the SVSM also serves MSRs 832, 838, 839 and 83E */

enum svsm_apic_configure { /* RCX of CONFIGURE */
	SVSM_APIC_CONFIGURE_QUERY = 0, /* also ends emulation on this CPU if deregistered */
	SVSM_APIC_CONFIGURE_DEREGISTER = 1,
	SVSM_APIC_CONFIGURE_REGISTER = 2,
};
#define SVSM_APIC_ERR_CANNOT_REGISTER (SVSM_ERR_PROTOCOL_BASE + 0)

/* RCX of CONFIGURE_VECTOR; bits 63:10 must be zero. */
#define SVSM_APIC_VECTOR_MASK    0xFFull
#define SVSM_APIC_VECTOR_ENABLE  BIT(8)
#define SVSM_APIC_VECTOR_ALL     BIT(9)
#define SVSM_APIC_VECTOR_ALL_MIN 31u /* "all" allows from here on; it forbids every vector (COCONUT configure_all_vectors) */

_Static_assert(sizeof(struct svsm_caa) == 4096, "the CAA is one page");
_Static_assert(sizeof(struct svsm_pvalidate_header) == 8, "the header is a quadword");

#endif
