/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The HPET's timer 0 through the I/O APIC: a device's interrupt, edge- or level-triggered. */
#ifndef GUEST_HPET_H
#define GUEST_HPET_H

#include "hpet_registers.h"
#include "ioapic_registers.h"

#define HPET_GSI 20 /* one of those that timer 0 of a q35 can have */

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
