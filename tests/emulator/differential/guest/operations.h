/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The list of operations in the image. tests/emulator/differential/operations.py writes it. */
#ifndef OPERATIONS_H
#define OPERATIONS_H

#include "layout.h"
#include "types.h"

#define PARAMETERS_MAGIC 0x53504F4349504124ull /* "$APICOPS" */
/* In flash, behind the payload: the second half of the image without its last page. */
#define OPERATIONS_FLASH 0xFFFE0000
#define OPERATIONS_MAX   ((START - OPERATIONS_FLASH) / 16)

struct parameters {
	u64 magic;
	u32 count;
};

enum kind {
	READ_MSR = 1,
	WRITE_MSR = 2,
	READ_MMIO = 3,
	WRITE_MMIO = 4,
	READ_CR8 = 5,
	WRITE_CR8 = 6,
	TAKE = 7,               /* interrupts are on for a moment */
	NORMALISE = 8,          /* xAPIC mode, as after reset, nothing requested or in service */
	READ_MSR_NONZERO = 9,   /* prints only whether the value is 0 */
	READ_MMIO_NONZERO = 10,
	WRITE_DEADLINE = 11,    /* MSR 6E0: 0, or far from now */
	READ_MMIO_ANY = 12,     /* prints no value: KVM leaves it undefined */
	/* Events, from a normal state in xAPIC mode. */
	STEP = 13,              /* single steps over instruction `number`: "#DBs,where from its end,DR6.BS" */
	STI_SHADOW = 14,        /* a self-IPI, STI and an instruction: "taken before it,taken after it" */
	NESTED_NMIS = 15,       /* `value` NMIs to itself in an NMI handler: "NMIs,depth" */
	TSC = 16,               /* MSR 10 + `value`, and back: "accepted,RDMSR follows,RDTSC follows" */
	TIMER_EXPIRY = 17,      /* one shot of `value` ticks: "taken,current count" */
	RESERVED_CR4 = 18,      /* MOV to CR4 with bit `number`: the exception and whether RIP is at it, or "." */
	/* `value`: an ICR, sent between IPI_VCPUS vCPUs, or with IPI_SELF a vector for SELF_IPI. */
	IPI = 19,               /* "handled at once by,handled with TPR 0 by,NMIs at,number": a bit for each vCPU */
};

/* `number` of IPI. Bits 5:4: the sender. Bits 11:8: the class of the TPR of all. */
enum ipi_flags {
	IPI_X2APIC = 0x01,
	IPI_HALT = 0x02,        /* the others are in HLT */
	IPI_SELF = 0x04,
	IPI_LOWEST = 0x08,      /* prints how many vCPUs instead of which */
	IPI_SENDER_SHIFT = 4,
	IPI_TPR_SHIFT = 8,
};
#define IPI_VCPUS 3

struct operation {
	u8 kind, size;
	u16 number; /* MSR, or offset in the page */
	u32 page;   /* number of the page */
	u64 value;
};

#endif
