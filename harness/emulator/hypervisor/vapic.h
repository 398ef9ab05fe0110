/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A virtual local APIC: registers, modes, interrupt priorities and timer of one vCPU.
 *
 * The model is KVM's arch/x86/kvm/lapic.c (6.x, AMD, in-kernel I/O APIC, no MMIO hole quirk); the specifications are
 * APM vol. 2 chapter 16 and SDM vol. 3A chapter 11. Where KVM accepts more than both, this follows them:
 *   x2APIC EOI with a value other than 0 is #GP (KVM ignores the value);
 *   ESR collects illegal vectors and registers, and raises LVT error (KVM's ESR is always 0);
 *   a timer that expires while masked is lost (KVM delivers it at the unmasking).
 *
 * Pure: no I/O, no clock, no globals. The caller passes the time (nanoseconds, any origin, never going back),
 * carries out the effects, and takes and delivers the interrupts. The timer's bus clock is 1 GHz:
 * a tick before the divider is 1 ns.
 */
#ifndef SNP_VAPIC_H
#define SNP_VAPIC_H

#include "apic.h"
#include "types.h"

/* How an access ended. */
enum vapic_result {
	VAPIC_OK = 0,
	VAPIC_GP = 1,          /* MSR: inject #GP(0); nothing was changed */
	VAPIC_NOT_CLAIMED = 2, /* MMIO: the APIC does not answer; a read returns all ones, a write is dropped */
};

struct vapic_config {
	u32 apic_id;       /* initial (x2)APIC ID */
	bool bsp;          /* bootstrap processor: APIC_BASE bit 8, LINT0 as virtual wire */
	bool x2apic;       /* CPUID offers x2APIC (leaf 1 ECX bit 21) */
	bool tsc_deadline; /* CPUID offers the TSC-deadline timer (leaf 1 ECX bit 24) */
	u32 phys_bits;     /* physical address bits of the guest; address bits above are reserved */
};

/* The APIC's state. Plain data: may be copied, moved and compared. Use the functions, not the fields. */
struct vapic {
	struct vapic_config config;
	u64 base;             /* APIC_BASE */
	u64 icr;              /* xAPIC: low 32 bits ICR, high 32 bits ICR2; x2APIC: the MSR */
	u64 tsc_deadline;     /* MSR 6E0; 0: disarmed */
	u64 timer_expires_ns; /* ~0: not armed */
	u64 timer_period_ns;  /* initial count x divider; 0: no count was started */
	u32 id;               /* the register: xAPIC ID in 31:24; x2APIC: the whole ID */
	u32 tpr;
	u32 ldr;              /* the register: xAPIC logical ID in 31:24; x2APIC: derived from the ID */
	u32 dfr;
	u32 spiv;
	u32 esr;              /* the value of a read: latched by a write */
	u32 esr_pending;      /* errors since the last write */
	u32 lvt[APIC_LVT_ENTRIES]; /* timer, thermal, performance, LINT0, LINT1, error */
	bool timer_by_event;  /* the timer was last set by the #HV timer event */
	u32 timer_initial;
	u32 timer_divide;
	u32 isr[APIC_VECTOR_WORDS];
	u32 tmr[APIC_VECTOR_WORDS];
	u32 irr[APIC_VECTOR_WORDS];
};

/* What the caller has to do after an access. A function that takes one clears it first. */
struct vapic_effect {
	bool eoi;                 /* an interrupt in service ended */
	u8 eoi_vector;            /* which */
	bool eoi_level;           /* its TMR bit was set: the I/O APIC waits for it */
	bool ipi;                 /* send `icr`: not set for fixed IPIs with the self shorthand, which are posted here */
	u64 icr;                  /* as written, destination in x2APIC form: 63:32; delivery status clear */
	bool base_changed;        /* APIC_BASE has another value */
	bool timer_changed;       /* vapic_timer_deadline() may have changed */
	bool destination_changed; /* ID, LDR, DFR, SPIV or the mode changed: vapic_match_destination() may answer otherwise */
	bool lint_changed;        /* vapic_accepts_extint() may have changed */
};

/* Power on: the state of a processor after RESET#. */
void vapic_reset(struct vapic *apic, const struct vapic_config *config);

/* INIT: registers as after reset, APIC_BASE (and so the mode) kept; in xAPIC mode the ID is kept as well. */
void vapic_init(struct vapic *apic);

/* APIC_BASE as RDMSR 1B returns it. */
u64 vapic_base(const struct vapic *apic);

/*
 * WRMSR 1B. VAPIC_GP for reserved bits and for the transitions APM figure 16-32 does not have
 * (disabled -> x2APIC, x2APIC -> xAPIC, EXTD without EN); the same value is a no-op.
 */
enum vapic_result vapic_write_base(struct vapic *apic, u64 value, struct vapic_effect *effect);

bool vapic_is_x2apic(const struct vapic *apic);

/* Hardware enabled: APIC_BASE.EN, in either mode; software enabled: SPIV bit 8. */
bool vapic_is_enabled(const struct vapic *apic);
static inline bool vapic_is_software_enabled(const struct vapic *apic) { return apic->spiv & APIC_SPIV_ENABLE; }

/* The registers LDR and DFR. */
u32 vapic_ldr(const struct vapic *apic);
u32 vapic_dfr(const struct vapic *apic);

/*
 * An access of `size` bytes at `offset` (0-FFF) of the APIC page. Claimed in xAPIC mode only.
 * Reads: 1, 2 or 4 bytes within the first 4 of a register; anything else claimed reads as 0 (KVM leaves it undefined).
 * Writes: 4 bytes at a multiple of 16 are carried out, anything else claimed is dropped.
 */
enum vapic_result vapic_mmio_read(struct vapic *apic, u32 offset, u32 size, u64 now_ns, u64 *value);
enum vapic_result vapic_mmio_write(struct vapic *apic, u32 offset, u32 size, u64 value, u64 now_ns,
				   struct vapic_effect *effect);

/*
 * RDMSR/WRMSR of 800-8FF. VAPIC_GP outside x2APIC mode, for registers that do not exist or not in
 * this direction, and for reserved bits.
 */
enum vapic_result vapic_msr_read(struct vapic *apic, u32 msr, u64 now_ns, u64 *value);
enum vapic_result vapic_msr_write(struct vapic *apic, u32 msr, u64 value, u64 now_ns, struct vapic_effect *effect);

/* MSR 6E0: 0 when disarmed or when the LVT is not in TSC-deadline mode. */
u64 vapic_tsc_deadline(const struct vapic *apic);

/*
 * WRMSR 6E0: `deadline_ns` is when the TSC will reach `tsc`. `tsc` 0 disarms. Ignored when the LVT
 * is not in TSC-deadline mode. (Whether the MSR exists is the caller's to check: CPUID 1 ECX bit 24.)
 */
void vapic_set_tsc_deadline(struct vapic *apic, u64 tsc, u64 deadline_ns);

/* The task priority, 8 bits. CR8 is tpr >> 4; a write of CR8 sets cr8 << 4. */
u8 vapic_tpr(const struct vapic *apic);
void vapic_set_tpr(struct vapic *apic, u8 tpr);

/*
 * A fixed interrupt arrives: sets IRR, and TMR to `level`. False, and nothing posted, when the APIC
 * is disabled (by APIC_BASE or SPIV) or `vector` is below 16 (then ESR has "received illegal vector").
 */
bool vapic_post(struct vapic *apic, u8 vector, bool level);

/* The processor priority (APM 16.6.4, SDM 11.8.3.1): lowest-priority delivery looks for the smallest. */
u32 vapic_priority(const struct vapic *apic);

/* The vector to deliver next (the highest in IRR, if its class is above the processor priority's), or -1. */
int vapic_pending(const struct vapic *apic);

/* Whether IRR has anything at all: what vapic_pending() holds back may become deliverable with a lower TPR. */
bool vapic_requested(const struct vapic *apic);

/* The highest vector in IRR below `below` (256: any), for any priorities, or -1; and whether it is level-triggered. */
int vapic_request_below(const struct vapic *apic, int below);
bool vapic_is_level(const struct vapic *apic, u8 vector);

/* `vector` is requested or in service. */
bool vapic_has(const struct vapic *apic, u8 vector);

/* Remove `vector` from IRR: it is delivered in another way. */
void vapic_withdraw(struct vapic *apic, u8 vector);

/* Take over the state of another APIC: requests, vectors in service, task priority. */
void vapic_restore(struct vapic *apic, const u32 irr[APIC_VECTOR_WORDS], const u32 isr[APIC_VECTOR_WORDS], u8 tpr);

/* x2APIC mode without a write of APIC_BASE: no processor does this (APM figure 16-32), two proposals for KVM did. */
void vapic_force_x2apic(struct vapic *apic);

/*
 * The #HV timer NAE event: LVT timer, divide configuration and initial count, in any mode of the APIC. Its interrupt
 * does not need the APIC to be enabled. The value is the current count before.
 */
u32 vapic_timer_set_by_event(struct vapic *apic, u32 lvt, u32 divide, u32 initial, u64 now_ns);

/* The processor takes `vector`: IRR -> ISR. */
void vapic_accept(struct vapic *apic, u8 vector);

/*
 * Run the timer up to `now_ns`: when it is due, posts LVT timer's interrupt (unless masked) and
 * re-arms a periodic one at its next multiple after `now_ns` (several missed periods are one interrupt).
 * True when an interrupt was posted.
 */
bool vapic_timer_run(struct vapic *apic, u64 now_ns);

/* When vapic_timer_run() has to be called next, ns; ~0: never. */
u64 vapic_timer_deadline(const struct vapic *apic);

/* LVT timer's vector. */
u8 vapic_timer_vector(const struct vapic *apic);

/* The PIC's INTR reaches the processor: APIC disabled by APIC_BASE, or LINT0 unmasked in ExtINT mode. */
bool vapic_accepts_extint(const struct vapic *apic);

/*
 * Whether an interrupt for `destination` (x2APIC form: an xAPIC's 8 bits are in 7:0; broadcast is
 * FFFFFFFF, which this accepts in either mode, and FF for an xAPIC) is for this APIC. Never when it is
 * disabled by APIC_BASE. KVM treats a device's FF (I/O APIC, MSI) as broadcast in x2APIC mode too: pass FFFFFFFF then.
 */
bool vapic_match_destination(const struct vapic *apic, u32 destination, bool logical);

#endif
