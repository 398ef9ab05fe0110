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
};

struct operation {
	u8 kind, size;
	u16 number; /* MSR, or offset in the page */
	u32 page;   /* number of the page */
	u64 value;
};

#endif
