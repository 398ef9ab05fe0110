/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shared by vapic_registers.c (registers and modes), vapic_irq.c (interrupts) and vapic_timer.c only. */
#ifndef SNP_VAPIC_INTERNAL_H
#define SNP_VAPIC_INTERNAL_H

#include "vapic.h"

#define VAPIC_NEVER (~0ull)

/* Entries of struct vapic's lvt[], in the order of their offsets. */
enum lvt_index {
	LVT_TIMER,
	LVT_THERMAL,
	LVT_PERFORMANCE,
	LVT_LINT0,
	LVT_LINT1,
	LVT_ERROR,
};

/* vapic_irq.c */

/* Sets IRR, and TMR to `level`, in any state of the APIC. */
void vapic_request(struct vapic *apic, u8 vector, bool level);

/* Note an APIC_ESR_* error, and raise LVT error's interrupt if that is unmasked. */
void vapic_record_error(struct vapic *apic, u32 error);

void vapic_end_of_interrupt(struct vapic *apic, struct vapic_effect *effect);

/* Carry out an ICR or self IPI write. `icr`: destination in x2APIC form, delivery status clear. */
void vapic_send_ipi(struct vapic *apic, u64 icr, struct vapic_effect *effect);

/* vapic_timer.c: register accesses of the timer. */

u32 vapic_timer_current(const struct vapic *apic, u64 now_ns);
void vapic_timer_set_initial(struct vapic *apic, u32 value, u64 now_ns);
void vapic_timer_set_divide(struct vapic *apic, u32 value, u64 now_ns);

/* `lvt`: the new LVT timer, reserved bits clear already. */
void vapic_timer_set_lvt(struct vapic *apic, u32 lvt);

#endif
