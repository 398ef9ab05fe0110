/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The local APIC that the SVSM keeps for a guest's vCPU under Alternate Injection: COCONUT's
 * kernel/src/cpu/apic.rs in behaviour. Pure: no hardware. What it is told by the hypervisor (the doorbell
 * page) and by the guest (calls, calling area) may be anything; every vector is a byte, and the vectors in
 * service are one a priority class, so no input can make it leave its arrays.
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
	u32 allowed[APIC_VECTOR_WORDS];  /* what the hypervisor may post; empty at first */
	u32 tmr[APIC_VECTOR_WORDS];
	u32 host_tmr[APIC_VECTOR_WORDS]; /* level-triggered by the hypervisor: it wants the EOI */
	u32 host_eoi[APIC_VECTOR_WORDS]; /* EOIs for lapic_next_host_eoi() */
	u64 icr;                         /* as last written */
	u16 classes;                     /* bit n: isr[n] is in service */
	u8 isr[LAPIC_CLASSES];
	bool update;   /* lapic_present() has something to do */
	bool injected; /* the vector in service with the highest class went into event_inj ... */
	bool queued;   /* ... or into vintr_ctrl, and may not have been taken yet */
	bool lazy_eoi; /* no_eoi_required was set for it: 0 again means EOI */
	bool nmi;
};

/* What other vCPUs send: they write it, lapic_take_ipis() empties it. Atomic. */
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

/* An interrupt of the SVSM's own making, edge-triggered. */
void lapic_post(struct lapic *lapic, u8 vector);

/* Takes what the hypervisor has posted: the vectors that are allowed. The entry is shared: one atomic access a field. */
void lapic_take_host(struct lapic *lapic, struct ghcb_doorbell_vmpl *entry);

void lapic_take_ipis(struct lapic *lapic, struct lapic_inbox *inbox);

/* The message of an ICR value into the inbox of another vCPU. */
void lapic_send(struct lapic_inbox *inbox, u64 icr);

/* Takes back what the guest has not taken yet, and performs a lazy EOI that the guest has asked for. */
void lapic_rewind(struct lapic *lapic, struct lapic_guest *guest);

/* Before a run of the guest: puts what is next into the VMSA. */
void lapic_present(struct lapic *lapic, struct lapic_guest *guest);

/*
 * READ_REGISTER and WRITE_REGISTER: enum svsm_result. An ICR write that succeeds has reached the vCPU itself;
 * the caller sends it to the others.
 */
u64 lapic_read(struct lapic *lapic, struct lapic_guest *guest, u64 msr, u64 *value);
u64 lapic_write(struct lapic *lapic, struct lapic_guest *guest, u64 msr, u64 value);

/* The end of emulation: IRR, ISR and NMI go to the hypervisor, by the doorbell page. */
void lapic_hand_over(struct lapic *lapic, struct lapic_guest *guest, struct ghcb_doorbell_vmpl *entry);

/* The calling area moves: what was said in the old one no longer counts. */
void lapic_forget_caa(struct lapic *lapic, struct lapic_guest *guest);

/* The next vector that the hypervisor wants a specific EOI for; false when there is none. */
bool lapic_next_host_eoi(struct lapic *lapic, u8 *vector);

/* What the VMSA says of the guest's readiness for interrupts. */
u8 lapic_tpr(const struct vmsa *vmsa);
bool lapic_interrupts_enabled(const struct vmsa *vmsa);
bool lapic_in_shadow(const struct vmsa *vmsa);

#endif
