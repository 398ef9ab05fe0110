/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The APIC as the SVSM serves it: its calls, its registers, and the end of an interrupt. */
#ifndef SVSM_APIC_H
#define SVSM_APIC_H

#include "apic_access.h"
#include "svsm.h"
#include "types.h"
#include "vmgexit.h"

u64 query_protocol(u32 protocol, u32 version); /* RCX of the answer; 0 if the call is refused */
struct svsm_reply apic_call(u32 call, u64 rcx, u64 rdx);
u64 configure(u64 rcx);        /* these functions return the result code */
u64 configure_vector(u64 rcx);
u64 write_register(u64 msr, u64 value);
u64 read_result(u64 msr);
u64 read_register(u64 msr);    /* the value, all ones when refused */

void allow(u8 vector);         /* allows interrupts of the hypervisor with this vector */
void send_self(u8 vector);     /* SELF_IPI */

bool in_irr(u8 vector);
bool in_isr(u8 vector);
bool in_tmr(u8 vector);
u32 in_service(void);          /* number of interrupts in service */

/* For on_interrupt: ends the interrupt, without a call if no_eoi_required is set. */
void end_interrupt(u8 vector);
void end_interrupt_uncounted(u8 vector); /* for interrupts outside of points */
bool end_lazily(void);         /* returns whether no_eoi_required was set, which it clears */
u64 end_by_call(void);

/* For struct group.prepare: no interrupt pending, in service or allowed, no timer, TPR 0, counters 0. */
void svsm_apic_prepare(void);

#endif
