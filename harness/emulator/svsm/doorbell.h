/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The #HV doorbell page of a vCPU at VMPL0 (ghcb.h; COCONUT kernel/src/sev/hv_doorbell.rs): where the hypervisor
 * leaves what it has for the SVSM and, under Alternate Injection, for its guest.
 * The page is shared: each field is accessed once and atomically, and may hold anything.
 */
#ifndef SVSM_DOORBELL_H
#define SVSM_DOORBELL_H

#include "ghcb.h"

/* Vectors of the SVSM itself. */
#define SVSM_VECTOR_INJECTION 0x50 /* there is something for the guest, or another vCPU has sent an IPI */
#define SVSM_VECTOR_TIMER     0x60 /* apic_timer.h */

struct doorbell_events {
	u8 vector;     /* of the SVSM itself, 0: none */
	bool eoi;      /* the hypervisor waits for the vector's EOI */
	bool guest;    /* the guest's entry has something */
	bool machine_check;
};

/* Takes what is pending; what comes later signals anew (run_vmpl.h). An NMI for the SVSM is dropped, as in COCONUT. */
struct doorbell_events doorbell_take(u8 *page, u32 guest_vmpl);

struct ghcb_doorbell_vmpl *doorbell_entry(u8 *page, u32 vmpl);

#endif
