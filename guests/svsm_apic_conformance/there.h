/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The other vCPU, with APIC ID 1. It runs one command at a time; its interrupts are counted apart from those here. */
#ifndef THERE_H
#define THERE_H

#include "ap.h"
#include "apic_access.h"
#include "types.h"

#define HERE  0u /* APIC IDs */
#define THERE 1u
#define TO(id)  ((u64)(id) << APIC_ICR_DESTINATION_SHIFT)

extern volatile u64 here[256], there[256]; /* interrupts handled so far */
extern volatile bool no_eoi_there;         /* the handler there leaves the interrupt in service */
extern volatile bool other_runs;           /* it answers */

/* For struct group.prepare: the other vCPU runs, and its APIC has nothing pending, in service or allowed. */
void there_prepare(void);
void there_forget(void);   /* only the counters, and the handler of interrupts */
void count_there(u8 vector); /* that handler */
void there_destroy(void);

/* Starts a command there, and returns when it has set value[0]; it may wait for finish_there(). False: it did not. */
bool start_there(void (*command)(struct ap *ap));
bool finish_there(void);
void serve_until_release(void); /* in a command: takes interrupts until finish_there() */
bool comes_there(u8 vector, u64 target);

/* Called by the other vCPU. */
u64 write_there(struct ap *ap, u32 reg, u64 value); /* result of the call */
u64 read_there(struct ap *ap, u32 reg);             /* all ones: it was refused */
bool bit_there(struct ap *ap, u32 bank, u8 vector);
u64 allow_there(struct ap *ap, u64 vector);         /* result of CONFIGURE_VECTOR */

/* The vector of most points, and another one of its class. */
#define VECTOR_THERE 0x61
#define SAME_THERE   0x62
/* Commands: wait with interrupts on, or off. Then value[1]: VECTOR_THERE is in ISR or IRR. */
void take_there(struct ap *ap);
void hold_there(struct ap *ap);
u64 query_protocol_there(struct ap *ap); /* RCX of QUERY_PROTOCOL for the APIC protocol */

#endif
