/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The APIC timer of the hypervisor and of the SVSM. */
#ifndef TIMER_H
#define TIMER_H

#include "types.h"

enum timer_source {
	TIMER_MSR = 0,   /* the hypervisor's, by x2APIC MSRs through the GHCB */
	TIMER_EVENT = 1, /* the hypervisor's, by the #HV timer event */
	TIMER_SVSM = 2,  /* the SVSM's, by its APIC protocol */
};

/* The timer raises `vector` after `us`. mode: enum apic_timer_mode and APIC_LVT_MASKED. False: it was refused. */
bool timer_start(enum timer_source source, u8 vector, u32 mode, u64 us);
void timer_stop(void); /* of every source */
u64 timer_counts(enum timer_source source, u64 us); /* counts of the undivided timer; measured once */
bool timer_current(enum timer_source source, u32 *count);
/* The count, the TSC when it was read, and the width of that time: TSC ticks. */
struct timer_look {
	u32 count;
	u64 tsc, width;
};
bool timer_look(enum timer_source source, struct timer_look *look);
bool hypervisor_apic_ready(void); /* in x2APIC mode and software-enabled */

#endif
