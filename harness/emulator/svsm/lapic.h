/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The local APIC that the SVSM emulates for a guest's vCPU under Alternate Injection. It behaves as COCONUT's
 * kernel/src/cpu/apic.rs. Pure: no hardware. Inputs of the hypervisor (the doorbell page) and of the guest (calls,
 * calling area) may have any value: every vector is a byte, and there is one vector in service for each priority
 * class, so no input leads outside its arrays.
 */
#ifndef SVSM_LAPIC_H
#define SVSM_LAPIC_H

#include "apic.h"
#include "ghcb.h"
#include "svsm.h"
#include "vmsa.h"

#define LAPIC_CLASSES 16 /* a vector's class is its bits 7:4 (APM vol. 2, 16.6.3) */

struct lapic {
	u32 id;
	u32 irr[APIC_VECTOR_WORDS];
	u32 allowed[APIC_VECTOR_WORDS];  /* vectors that the hypervisor may post; empty at first */
	u32 tmr[APIC_VECTOR_WORDS];
	u32 host_tmr[APIC_VECTOR_WORDS]; /* level-triggered by the hypervisor: it requires the EOI */
	u32 host_eoi[APIC_VECTOR_WORDS]; /* EOIs for lapic_next_host_eoi() */
	u64 icr;                         /* as last written */
	u16 classes;                     /* bit n: isr[n] is in service */
	u8 isr[LAPIC_CLASSES];
	bool update;   /* lapic_present() has something to do */
	bool injected; /* the vector in service with the highest class went into event_inj ... */
	bool queued;   /* ... or into vintr_ctrl, and may not have been delivered yet */
	bool lazy_eoi; /* no_eoi_required was set for it: 0 again means EOI */
	bool nmi;
};

/* IPIs of other vCPUs: they write it, lapic_take_ipis() empties it. Atomic. */
struct lapic_inbox {
	u32 irr[APIC_VECTOR_WORDS];
	u8 nmi;
	u8 pending; /* written last, read first */
};

/* The guest's side of one operation. The VMSA is not in use meanwhile. */
struct lapic_guest {
	struct vmsa *vmsa;
	bool has_caa;       /* the calling area could be read */
	u8 no_eoi_required; /* of the calling area: in, and out when has_caa */
};

void lapic_init(struct lapic *lapic, u32 id);

/* CONFIGURE_VECTOR; "all" allows GHCB_DOORBELL_FIRST_VECTOR and up, and forbids every vector. */
void lapic_allow(struct lapic *lapic, u8 vector, bool allowed);
void lapic_allow_all(struct lapic *lapic, bool allowed);

/* Posts an edge-triggered interrupt of the SVSM itself. */
void lapic_post(struct lapic *lapic, u8 vector);

/* Reads the allowed vectors that the hypervisor has posted. The entry is shared: one atomic access for each field. */
void lapic_take_host(struct lapic *lapic, struct ghcb_doorbell_vmpl *entry);

void lapic_take_ipis(struct lapic *lapic, struct lapic_inbox *inbox);

/* Puts the message of an ICR value into the inbox of another vCPU. */
void lapic_send(struct lapic_inbox *inbox, u64 icr);

/* Takes interrupts back that were not delivered yet, and performs a lazy EOI of the guest. */
void lapic_rewind(struct lapic *lapic, struct lapic_guest *guest);

/*
 * After a run: an exit may have cut the delivery of an event short, which the hardware leaves to the SVSM. It is
 * delivered at the next run. The instruction of a software event raises it again.
 */
void lapic_resume_event(struct lapic *lapic, struct vmsa *vmsa);

/* Called before a run of the guest: puts the next interrupt into the VMSA. */
void lapic_present(struct lapic *lapic, struct lapic_guest *guest);

/*
 * READ_REGISTER and WRITE_REGISTER: enum svsm_result. An ICR write that succeeds has reached the vCPU itself;
 * the caller sends it to the others.
 */
u64 lapic_read(struct lapic *lapic, struct lapic_guest *guest, u64 msr, u64 *value);
u64 lapic_write(struct lapic *lapic, struct lapic_guest *guest, u64 msr, u64 value);

/* Ends emulation: IRR, ISR and NMI are passed to the hypervisor in the doorbell page. */
void lapic_hand_over(struct lapic *lapic, struct lapic_guest *guest, struct ghcb_doorbell_vmpl *entry);

/* The calling area moves: no_eoi_required of the old one is not valid any more. */
void lapic_forget_caa(struct lapic *lapic, struct lapic_guest *guest);

/* The next vector for which the hypervisor requires a specific EOI. False: there is none. */
bool lapic_next_host_eoi(struct lapic *lapic, u8 *vector);

/* Whether the VMSA allows interrupts of the guest. */
u8 lapic_tpr(const struct vmsa *vmsa);
bool lapic_interrupts_enabled(const struct vmsa *vmsa);
bool lapic_in_shadow(const struct vmsa *vmsa);

#endif
