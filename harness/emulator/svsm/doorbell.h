/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The #HV doorbell page of a vCPU at VMPL0 (ghcb.h; COCONUT kernel/src/sev/hv_doorbell.rs): the hypervisor posts
 * interrupts for the SVSM there and, under Alternate Injection, for its guest.
 * The page is shared: each field is accessed once and atomically, and may have any value.
 */
#ifndef SVSM_DOORBELL_H
#define SVSM_DOORBELL_H

#include "ghcb.h"

/* Vectors of the SVSM itself. */
#define SVSM_VECTOR_INJECTION 0x50 /* something is pending for the guest, or another vCPU has sent an IPI */
#define SVSM_VECTOR_TIMER     0x60 /* apic_timer.h */

struct doorbell_events {
	u8 vector;     /* of the SVSM itself, 0: none */
	bool eoi;      /* the hypervisor waits for the vector's EOI */
	bool guest;    /* the guest's entry is not empty */
	bool machine_check;
};

/* Reads and clears what is pending. Later events signal again (run_vmpl.h). An NMI for the SVSM is dropped. */
struct doorbell_events doorbell_take(u8 *page, u32 guest_vmpl);

struct ghcb_doorbell_vmpl *doorbell_entry(u8 *page, u32 vmpl);

#endif
