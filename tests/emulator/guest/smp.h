/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tests with several vCPUs: what the APs do meanwhile, and which vCPUs have handled an interrupt. */
#ifndef SMP_H
#define SMP_H

#include "guest.h"

#define VECTOR  0x61
#define PATIENCE_MS 1000
#define ICR(mode, vector) ((u64)(mode) << APIC_ICR_DELIVERY_SHIFT | APIC_ICR_ASSERT | (vector))
#define TO(destination)   ((u64)(destination) << APIC_ICR_DESTINATION_SHIFT)

static inline u64 last_ap(void) { return parameters->vcpus - 1; }
static inline u64 aps_mask(void) { return BIT(parameters->vcpus) - 2; }

extern volatile u64 takers[256]; /* the vCPUs that handled a vector: a bit for each */
void note_taker(u8 vector); /* for on_interrupt */
void prepare(void);         /* all APICs in x2APIC mode, no takers */
void send(u64 icr);

/* Commands for APs. */
void to_x2apic(struct ap *ap);
void take_interrupts(struct ap *ap); /* until all_done(). Interrupts that were sent before are handled by then */
void halt(struct ap *ap);

/* Return when the AP, or each, has begun: the command sets value[0]. */
void one_does(u64 index, void (*command)(struct ap *ap));
void all_do(void (*command)(struct ap *ap));
bool all_done(void);

#endif
