/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The log of the emulated SNP host: the C side writes it,
 * harness/snp_harness/launch/ring.py reads it.
 *
 * The log is a ring in memory that QEMU shares with the harness
 * (memory-backend-file, share=on). It starts with one 4 KiB header page;
 * the records follow. All numbers are little endian.
 *
 * Writer (host):   fills a record, its check word, then `seq` last; then `head`.
 * Reader (harness): reads records while seq and check match; then writes `tail`.
 * A full ring makes the host wait for the reader, up to RECORD_WAIT_NS; then it
 * drops records and counts them in `lost`: an unread record is never overwritten.
 */
#ifndef SNP_RECORD_H
#define SNP_RECORD_H

#include "types.h"

#define RECORD_MAGIC   0x31474F4C504E53ull /* "SNPLOG1" */
#define RECORD_VERSION 1
#define RECORD_WAIT_NS 60000000000ull /* longer than a suspend of the machine */

/* QEMU loads no saved processor that runs a guest (target/i386/machine.c, cpu_post_load). */
#define RECORD_GATE_OPEN   0
#define RECORD_GATE_ASKED  1 /* harness: wait before the next VMRUN; an NMI that comes now is the harness's */
#define RECORD_GATE_CLOSED 2 /* host: it waits; the harness opens the gate */

struct record_ring {
	u64 magic;    /* RECORD_MAGIC, written by the host when the ring is ready */
	u32 version;  /* RECORD_VERSION */
	u32 capacity; /* records the ring holds, a power of two */
	u64 head;     /* records written since the start (host) */
	u64 tail;     /* records read since the start (harness) */
	u64 lost;     /* records dropped since the start (host) */
	u32 armed;    /* harness: 1 requests one byte on the doorbell port at the next record; host: back to 0 */
	u32 gate;     /* RECORD_GATE_*: has the host wait outside the guest */
	u64 exits;    /* #VMEXITs so far, for progress (host) */
	u64 exit_count[256]; /* the same by exit code; 254: #NPF, 255: any other of 100h and up; 253: in_place.h (host) */
	u64 halted;   /* a pc while all vCPUs are in HLT with interrupts off, else 0 (host) */
	u8 pad[4096 - 64 - 256 * 8];
};

struct record {
	u64 seq;     /* 1 for the first record; written last */
	u64 time_ns; /* since the host's start */
	u64 rip;     /* linear address of the guest instruction that caused it (at the #VC, not at the VMGEXIT) */
	u64 address; /* see the kinds */
	u64 value;   /* see the kinds */
	u64 extra;   /* see the kinds */
	u32 check;   /* record_check() of the other 60 bytes */
	u16 kind;
	u8 vcpu;
	u8 vmpl;
	u8 size;     /* bytes accessed */
	u8 path;     /* enum record_path */
	u8 outcome;  /* enum record_outcome */
	u8 flags;    /* RECORD_WRITE, CPU mode */
	u32 aux;     /* see the kinds */
};

#define RECORD_WRITE     0x01 /* a write; otherwise a read */
#define RECORD_CR0_PE    0x02
#define RECORD_CR0_PG    0x04
#define RECORD_EFER_LMA  0x08
#define RECORD_CPL_SHIFT 4    /* bits 5:4 */
#define RECORD_VALUE     0x40 /* RECORD_ACCESS: `value` was observed */

#define RECORD_ANSWERS_SHIFT 2 /* RECORD_APIC, RECORD_APIC_BASE: aux */
#define RECORD_ANSWERS_BITS  30

enum record_path {
	RECORD_PATH_NONE = 0,
	RECORD_PATH_MMIO = 1, /* xAPIC page */
	RECORD_PATH_MSR = 2,  /* x2APIC MSR, or another MSR */
	RECORD_PATH_SVSM = 3, /* SVSM APIC protocol */
};

enum record_outcome {
	RECORD_OK = 0,
	RECORD_GP = 1,          /* refused with #GP */
	RECORD_NOT_CLAIMED = 2, /* no device answered: a read returns all ones, a write is dropped */
	RECORD_ERROR = 3,       /* another error, in `extra` */
};

enum record_kind {
	RECORD_START = 1,        /* address: TSC kHz; value: sizeof(struct record); extra: config version; aux: vCPUs */
	RECORD_END = 2,          /* address: enum record_end; value, extra: detail; aux: exit code (low 32 bits) */
	RECORD_APIC = 3,         /* local APIC register, answered. address: GPA (MMIO) or MSR number (MSR, SVSM); value; extra (SVSM): result; aux 1:0: APIC_BASE mode bits (EN<<1 | EXTD) before it, 31:2: bits 29:0 of the seq of the RECORD_ACCESS that it answers, or 0: none, a request that no access of the processor caused */
	RECORD_APIC_BASE = 4,    /* MSR 1B. value: read or written; extra: APIC_BASE before the access; aux as RECORD_APIC */
	RECORD_MSR = 5,          /* another MSR through the GHCB. address: MSR; value */
	RECORD_MODULE = 6,       /* first #VMEXIT from a code page of an image. address: image base; value: SizeOfImage | entry RVA << 32; rip */
	RECORD_BYTES = 7,        /* the guest's code at rip: first #VMEXIT from a code page, and before each access to a local APIC and each RMP violation whose bytes are not those logged last for this rip. address, value, extra: 24 bytes at rip, little endian; size: how many could be read */
	RECORD_VC = 8,           /* #VC delivered. address: error code; value: EXITINFO1; extra: EXITINFO2 */
	RECORD_NAE = 9,          /* NAE event. address: SW_EXITCODE; value: SW_EXITINFO1; extra: SW_EXITINFO2; outcome */
	RECORD_GHCB_MSR = 10,    /* GHCB MSR protocol. address: request; value: response */
	RECORD_SVSM_CALL = 11,   /* SVSM call made. address: RAX; value: RCX; extra: RDX */
	RECORD_SVSM_RESULT = 12, /* SVSM call answered. address: RAX of the call; value: result; extra: RCX out */
	RECORD_RMP_VIOLATION = 13, /* address: GPA with C-bit; value: error code (EXITINFO1); extra: RMP entry; aux: enum record_violation */
	RECORD_RMP_CHANGE = 14,  /* address: GPA; value: RMP entry after; extra: before; aux: enum record_rmp_op; size 0: 4 KiB, 1: 2 MiB; outcome */
	RECORD_VMPL_SWITCH = 15, /* vmpl: the one that runs now; address: VMSA GPA; value: exit code of the other */
	RECORD_INTERRUPT = 16,   /* virtual interrupt delivered to the guest. address: vector; value: enum record_irq_source (level 2; with Alternate Injection the first of each vector since the last CONFIGURE_VECTOR at any level) */
	RECORD_STATS = 17,       /* address: exit code; value: count; extra: TSC ticks spent in the host (0 when not measured) */
	RECORD_TEXT = 18,        /* 32 bytes of text, from rip to extra, NUL padded; aux: line; for assertions and diagnoses */
	RECORD_VMSA = 19,        /* AP creation. address: VMSA GPA; value: SW_EXITINFO1; extra: SEV_FEATURES; outcome */
	RECORD_IO = 20,          /* port I/O through the GHCB (level 2). address: port; value; size */
	RECORD_MMIO = 21,        /* MMIO through the GHCB, not the APIC (level 2). address: GPA; value; size */
	RECORD_DOORBELL = 22,    /* interrupt posted to the doorbell page. aux: the VMPL it is for; address: vector; value: enum record_irq_source; size: 1 if level-triggered; outcome: RECORD_ERROR if lost by a fault (levels as RECORD_INTERRUPT) */
	RECORD_ALTERNATE = 23,   /* Alternate Injection of a VMPL begins (value 1) or ends (0). address: VMPL; extra: APIC_BASE of its hypervisor APIC after it; aux: 1 if the policy changed APIC_BASE */
	RECORD_REFUSED = 24,     /* a write to a device that was not passed on as it was. address: port, GPA, or configuration space as in MMCONFIG; value; aux: enum record_refused (the first 16 of each) */
	RECORD_ACCESS = 25,      /* the processor accesses a local APIC register or APIC_BASE: at the #VMEXIT, before #VC and before anything answers. address: GPA (first byte in the page) or MSR number; value: of a write, with RECORD_VALUE; extra: EXITINFO1; size: 0 if not observed; path: MMIO or MSR; aux: mode bits as RECORD_APIC */
	RECORD_LAUNCH = 26,      /* SNP_LAUNCH_UPDATE. address: GPA; value: pages; extra: their offset in the launch list, 0: none; aux: enum psp_page, or RECORD_LAUNCH_FINISH: SNP_LAUNCH_FINISH, value: its status */
	RECORD_EXIT = 27,        /* a #VMEXIT (level 3), before the records that it leads to. address: exit code, of VMGEXIT 403h; value: EXITINFO1; extra: the MSR or CPUID leaf, else EXITINFO2 */
	RECORD_CONSOLE = 28,     /* a byte that is sent to COM1, where the run follows its console (config.h). value */
};

#define RECORD_LAUNCH_FINISH 0

enum record_end {
	RECORD_END_SHUTDOWN = 1,      /* triple fault of the guest */
	RECORD_END_VMRUN = 2,         /* VMEXIT_INVALID: VMRUN refused the VMCB */
	RECORD_END_TERMINATE = 3,     /* the guest requested termination: value: reason set; extra: reason code */
	RECORD_END_UNKNOWN_EXIT = 4,  /* value: EXITINFO1; extra: EXITINFO2 */
	RECORD_END_VC = 5,            /* #VC could not be delivered: value: #VC code; extra: enum vc_failure */
	RECORD_END_HOST_FAULT = 6,    /* exception in the host: value: vector; extra: CR2; rip is the host's */
	RECORD_END_ASSERT = 7,        /* assertion of the host; a RECORD_TEXT before it names it */
	RECORD_END_INSTRUCTION = 8,   /* an instruction the host cannot emulate: value: its first 8 bytes; extra: GPA */
	RECORD_END_PRIVATE_MMIO = 9,  /* access without paging, which is private, to a GPA without memory: value: GPA */
	RECORD_END_CONFIG = 10,       /* configuration block refused: value: field offset */
	RECORD_END_NO_VMSA = 11,      /* nothing left to run: no VMSA for the VMPL */
	RECORD_END_NAE = 12,          /* the firmware reported an exit it does not support (NAE 8000FFFF): value: the exit code */
	RECORD_END_VMPL = 13,         /* an access that the VMPL's permissions do not allow: value: GPA; extra: RMP entry. On hardware the hypervisor cannot resolve it */
	RECORD_END_GHCB = 14,         /* VMGEXIT with a GHCB that is not registered: value: GPA */
	RECORD_END_INIT = 15,         /* the guest made a device reset the processor that the host runs on (INIT) */
	RECORD_END_SUSPEND = 16,      /* the guest asked for S3: it would continue at the reset vector, the emulator's. value, extra: what it wrote, port */
	RECORD_END_BREAKPOINT = 17,   /* #DB in the host: a guest's breakpoint at one of its addresses, which is in rip */
	RECORD_END_NOT_SNP = 18,      /* an SEV-ES guest made a GHCB MSR request of SEV-SNP: value: the request */
	RECORD_END_DEBUG_EXIT = 19,   /* the guest wrote to isa-debug-exit: value: what */
	RECORD_END_GUEST_REQUEST = 20, /* a guest request with a page that is not memory: value: GPA */
	RECORD_END_LAUNCH = 21,       /* SNP_LAUNCH_FINISH refused the guest: value: enum psp_status; extra: its policy */
	RECORD_END_RESET = 22,        /* the guest reset the machine. value, extra: what it wrote, port */
	RECORD_END_POWER_OFF = 23,    /* the guest powered the machine off: the same */
};

/* What a write to a device would have reached, had it been passed on. */
enum record_refused {
	RECORD_REFUSED_WINDOW = 0,  /* PCIEXBAR, RCBA or PMBASE at a place that is not free */
	RECORD_REFUSED_PORT = 1,    /* a port that ejects a device, or of the TCO timer */
	RECORD_REFUSED_A20 = 2,     /* bit 20 of all addresses */
	RECORD_REFUSED_SMI = 3,     /* a processor of the emulator, by SMI or INIT */
	RECORD_REFUSED_EJECT = 4,   /* a processor of QEMU */
	RECORD_REFUSED_MESSAGE = 5, /* any address, by an interrupt message of the HPET */
	RECORD_REFUSED_DMA = 6,     /* memory that a device may not access: address: GPA; value: bytes */
};

enum record_violation {
	RECORD_VIOLATION_NOT_VALIDATED = 1, /* C=1 access to an assigned page that is not validated: #VC 404 */
	RECORD_VIOLATION_SHARED = 2,        /* C=1 access to a shared page: the hypervisor assigns it, then #VC 404 */
	RECORD_VIOLATION_PRIVATE = 3,       /* C=0 access to a private page: implicit conversion, content lost */
	RECORD_VIOLATION_VMPL = 4,          /* access that the VMPL's permissions do not allow */
	RECORD_VIOLATION_PVALIDATE = 5,     /* PVALIDATE of a page that is not assigned */
	RECORD_VIOLATION_GHCB = 6,          /* GHCB page is not shared */
	RECORD_VIOLATION_MMIO = 7,          /* C=1 access to a GPA without memory: #VC 400 nevertheless; handlers refuse it since 2023 */
};

enum record_rmp_op {
	RECORD_RMP_PVALIDATE = 1,
	RECORD_RMP_RESCIND = 2,
	RECORD_RMP_PSC_PRIVATE = 3,
	RECORD_RMP_PSC_SHARED = 4,
	RECORD_RMP_RMPADJUST = 5,
	RECORD_RMP_IMPLICIT = 6,
};

enum record_irq_source {
	RECORD_IRQ_IOAPIC = 1, /* QEMU's I/O APIC or an MSI */
	RECORD_IRQ_PIC = 2,
	RECORD_IRQ_TIMER = 3,
	RECORD_IRQ_IPI = 4,
	RECORD_IRQ_SVSM = 5, /* the SVSM put it into the VMSA: event_inj or vintr_ctrl */
};

/*
 * The hypervisor's own account of what it has recorded, in memory that only it writes: the last page of its RAM, not in
 * the ring's memory. The harness reads it by QEMU's monitor and compares it with what the ring gave.
 *
 * The digest is a polynomial over the 32-bit words of all records, as they are in the ring, modulo 2^61 - 1, at a key
 * that the configuration block has and no guest can read: digest = digest * key + word. `count` is written last: QEMU may
 * be stopped between any two instructions. So are the digests of the last records: one may be here and not in the ring yet.
 */
#define RECORD_ACCOUNT_MAGIC  0x31434341504E53ull /* "SNPACC1" */
#define RECORD_ACCOUNT_SLOTS  4
#define RECORD_DIGEST_MODULUS ((1ull << 61) - 1)

struct record_account {
	u64 magic;    /* RECORD_ACCOUNT_MAGIC, written when the ring is open */
	u64 count;    /* records written since the start: the number of the last one */
	u64 lost;     /* dropped ones */
	u64 accesses; /* to a local APIC, counted before RECORD_ACCESS is written */
	u64 recorded; /* of these, with their RECORD_ACCESS: written or dropped */
	u64 digest[RECORD_ACCOUNT_SLOTS]; /* [n % RECORD_ACCOUNT_SLOTS]: after record n */
};

#define DIGEST_WORDS (sizeof(struct record) / sizeof(u32))

/* Powers of the key, from the first one: a record is digested in one step, which gives the same as one step a word. */
struct record_key {
	u64 power[DIGEST_WORDS];
};

/* Below 2^64 again, from below 2^124; twice of that is below 2^61 + 8. */
static inline u64 record_fold(unsigned __int128 value) { return (u64)(value & RECORD_DIGEST_MODULUS) + (u64)(value >> 61); }

static inline u64 record_reduce(unsigned __int128 value)
{
	u64 digest = record_fold(record_fold(value));

	return digest >= RECORD_DIGEST_MODULUS ? digest - RECORD_DIGEST_MODULUS : digest;
}

static inline void record_key_set(struct record_key *key, u64 value)
{
	key->power[0] = value;
	for (u32 i = 1; i < DIGEST_WORDS; i++)
		key->power[i] = record_reduce((unsigned __int128)key->power[i - 1] * value);
}

/* digest * key^16 + word[0] * key^15 + ... + word[15]: below 2^122 + 15 * 2^93 + 2^32. */
static inline u64 record_digest(u64 digest, const struct record_key *key, const struct record *record)
{
	const u32 *word = (const u32 *)record;
	unsigned __int128 sum = (unsigned __int128)digest * key->power[DIGEST_WORDS - 1] + word[DIGEST_WORDS - 1];

#pragma GCC unroll 16
	for (u32 i = 0; i < DIGEST_WORDS - 1; i++)
		sum += (unsigned __int128)word[i] * key->power[DIGEST_WORDS - 2 - i];
	return record_reduce(sum);
}

/* FNV-1a over the record's 32-bit words, with the check word counted as 0. */
static inline u32 record_check(const struct record *record)
{
	const u32 *word = (const u32 *)record;
	u32 hash = 2166136261u;

#pragma GCC unroll 16
	for (u32 i = 0; i < DIGEST_WORDS; i++) {
		u32 w = (i == 12) ? 0 : word[i];

		hash = (hash ^ w) * 16777619u;
	}
	return hash;
}

_Static_assert(sizeof(struct record) == 64, "a record is 64 bytes");
_Static_assert(sizeof(struct record_ring) == 4096, "the header is one page");

#endif
