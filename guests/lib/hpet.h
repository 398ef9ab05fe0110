/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The HPET's timer 0 through the I/O APIC: a device's interrupt, edge- or level-triggered. */
#ifndef GUEST_HPET_H
#define GUEST_HPET_H

#include "types.h"

/* I/O APIC redirection table entries (82093AA I/O APIC, 3.2.4), low half. */
#define RTE_LEVEL      0x8000u
#define RTE_MASKED     0x10000u
#define RTE_REMOTE_IRR 0x4000u

/* HPET (IA-PC HPET specification 1.0a, 2.3): registers, and bits of timer 0's configuration. */
#define HPET               0xFED00000ull
#define HPET_CAPABILITIES  0x000 /* 63:32: length of a tick in femtoseconds */
#define HPET_CONFIG        0x010
#define HPET_STATUS        0x020
#define HPET_COUNTER       0x0F0
#define HPET_TIMER_CONFIG  0x100
#define HPET_TIMER_VALUE   0x108
#define HPET_LEVEL         0x02u
#define HPET_ENABLE        0x04u
#define HPET_PERIODIC      0x48u /* also: the next write of the value sets the period */
#define HPET_ROUTE_SHIFT   9
#define HPET_GSI           20 /* one of those that timer 0 of a q35 can have */

bool hpet_is_there(void);
/* One interrupt after 1 ms; with HPET_PERIODIC one every 1 ms. flags: HPET_ENABLE, HPET_LEVEL (until hpet_served()). */
void hpet_after_1_ms(u32 flags);
void hpet_served(void);
void hpet_off(void);

void hpet_route(u32 low); /* low half of the redirection table entry of HPET_GSI; to APIC ID 0 */
void hpet_route_to(u64 apic_id, u32 low);
bool hpet_remote_irr(void);
u64 hpet_destination(void); /* APIC ID in the entry */

#endif
