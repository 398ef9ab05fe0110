/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The hypervisor's state: everything of a vCPU is in struct vcpu, everything shared in struct hypervisor; functions get
 * one of them. GPAs carry no C-bit here.
 */
#ifndef SNP_VCPU_H
#define SNP_VCPU_H

#include "hardware/hw.h"
#include "sev.h"
#include "vapic.h"

#define NO_DEADLINE (~0ull)
#define OWN_MSRS 71 /* see own_msr.c */
#define IOAPIC_HALVES 48 /* of QEMU's 24 redirection entries */

/* One VMPL of one vCPU, as the hypervisor knows it. */
struct vmpl_state {
	u64 ghcb_gpa;     /* registered (MSR protocol 012), or NO_GPA */
	u8 *ghcb;         /* the GHCB page at `ghcb_page`, while `ghcb_generation` is that of the page states */
	u64 ghcb_page;
	u64 ghcb_generation;
	u64 vmsa_gpa;     /* from AP creation, or NO_GPA */
	u64 sev_features; /* of that VMSA */
	u64 init_vmsa_gpa; /* by AP creation "on INIT": replaces it at INIT or "run VMPL"; or NO_GPA */
	u64 init_features;
	u64 xcr0;         /* as the guest last named it in a GHCB (KVM: sev_es_sync_from_ghcb) */
	u64 dr7;          /* as written by NAE event; the CPU's is in the VMSA */
	struct hw_call svsm_call; /* the SVSM call that VMPL0 has not answered yet */
	u64 svsm_pc;      /* of the instruction it was made for */
	u32 svsm_answers; /* see hw_observe_answer() */
	bool svsm_called;
	bool alternate;   /* Alternate Injection: the VMSA controls interrupts */
};

/* VMPL0's #HV doorbell page, and events that wait for it: see doorbell.c. */
struct doorbell {
	u64 gpa;               /* NO_GPA: none set */
	u8 *page;              /* while `generation` is that of the page states; NULL: not a shared page */
	u64 generation;
	bool signal;           /* #HV is to be injected at VMPL0's next entry */
	u8 injection_vector;   /* raised at VMPL0 with events of lower VMPLs; 0: none */
	u32 own[APIC_VECTOR_WORDS]; /* vectors for VMPL0 itself */
};

/* Why a vCPU does not run: see readiness.c. */
enum wait {
	WAIT_NOTHING,
	WAIT_INTERRUPT, /* HLT */
	WAIT_SIPI,      /* after INIT; without SEV after reset as well */
	WAIT_HOLD,      /* AP reset hold: until SIPI */
	WAIT_VMSA,      /* the VMPL to run has no VMSA */
};

/* NMIs are blocked from an NMI's delivery to the IRET of its handler. */
enum nmi_blocking {
	NMI_OPEN,
	NMI_BLOCKED,  /* with SEV until the NMI complete event: the hypervisor does not see IRET (KVM, svm_enable_nmi_window) */
	NMI_AT_IRET,  /* which is executed alone */
};

/* The emulator's TLB is empty after each exit, so the fields that each exit uses are together, at the start. */
struct vcpu {
	struct hypervisor *hv;
	struct hw_cpu *cpu;
	u32 index; /* and its APIC ID */
	u8 vmpl;   /* the one that runs */
	u8 guest_vmpl;
	bool apic_virtual;   /* not QEMU's */
	bool apic_dirty;     /* a change affects which interrupts are delivered */
	bool stepping;       /* see mmio_step.c */
	bool yield;          /* another vCPU may have the processor before this one runs on */
	u8 wait;             /* enum wait */
	bool paused;         /* it leaves the processor at PAUSE */
	u8 spins;            /* how often it has got the processor, since it last went on, and only waited: see readiness.c */
	bool pic_waiting;    /* the PIC has an interrupt that the guest cannot take yet */
	bool nmi_pending;
	u8 nmi_blocking;     /* enum nmi_blocking */
	bool posted_extint;
	u32 log_level;
	int posted;          /* vector in V_IRQ, or -1 */
	int extint;          /* vector of the PIC, or -1 */
	u64 deadline_tsc;    /* when to check the virtual timers again */
	u64 vintr;           /* of the last VMRUN that changed it */
	struct hw_request request; /* of the next VMRUN */
	struct vmpl_state state[CONFIG_VMPLS];
	struct doorbell doorbell;

	/* Few exits use the rest. */
	struct vapic apic[CONFIG_VMPLS]; /* the hypervisor's, one a VMPL */
	bool launched;       /* with a VMSA, on which it starts */
	bool vmsa_came;      /* by AP creation, for a VMPL below the one that runs: ends VMPL0's HLT, a later one too */
	u64 hold_ghcb;       /* GHCB whose AP reset hold waits for its answer, or NO_GPA: that of the MSR protocol */
	u32 level[8];        /* level-triggered vectors whose physical EOI waits for the guest's */
	u32 eoi_owed[8];     /* ended by the guest, but not the highest in the physical ISR yet */
	u32 caught[APIC_VECTOR_WORDS]; /* by its processor of QEMU's (catch.c), of devices' messages; */
	u32 caught_level[APIC_VECTOR_WORDS]; /* of these, the level-triggered ones */
	bool caught_nmi;
	bool catching;       /* that processor answers */
	bool mirror;         /* it is to call physical_set_destination() */
	u8 irq_source[256];  /* enum record_irq_source of a vector that was posted */
	u32 posted_seen[APIC_VECTOR_WORDS]; /* vectors logged since the last CONFIGURE_VECTOR */
	u32 fault_count[CONFIG_FAULTS]; /* occasions of each fault so far */
	bool init_pending;   /* an INIT that it has sent to itself */
	u64 own_msr[OWN_MSRS];
	u64 clock_msr;       /* as the guest wrote it: see kvm_clock.c */
	u64 delayed_until_ns; /* CONFIG_FAULT_DELAYED_INTERRUPT: nothing is posted before */
};

#define MMIO_STEP_PAGES 2 /* of the operands of MOVS */

/* A page that an instruction is executed on: see mmio_step.c. */
struct mmio_step_page {
	u64 gpa;
	u64 written;   /* the first byte, if `writable` */
	u8 *shown;     /* mapped instead of the device */
	u8 *before;    /* what it showed */
	bool writable; /* the instruction has tried to write, or may */
	bool device;   /* it is the device's own page that is mapped */
};

struct mmio_step {
	u64 pc;
	u32 width; /* of the access, 0: not known */
	bool reads; /* a decoded instruction reads the memory that it may write */
	u32 pages;
	struct mmio_step_page page[MMIO_STEP_PAGES];
};

struct hypervisor {
	struct machine *machine;
	const struct host_config *config;
	struct hw *hw;
	bool snp;               /* SEV-SNP */
	bool es;                /* SEV-ES or SNP */
	bool encrypted;         /* SEV of any kind */
	u32 vcpus;
	u64 generation;         /* of the page states: pointers to shared pages are valid until it changes */
	u64 interrupts;         /* physical interrupts taken */
	u64 timer_armed_ns;     /* deadline in the physical timer, or NO_DEADLINE */
	u64 slice_end_ns;       /* of a part of the slice, or NO_DEADLINE: no other vCPU is ready */
	u32 slice_part;         /* from 1: see readiness.c */
	u64 turn_began_ns;      /* when the vCPU that runs got the processor */
	u32 regions;
	struct hw_slot region[HW_SLOTS]; /* of guest memory */
	struct vcpu vcpu[HW_CPUS];
	u64 scratch_page;       /* all ones: what the guest reads at GPAs without memory or device */
	u64 ap_jump_table;
	u8 *guest_request;      /* pages: the message that is given to the security processor, */
	u8 *guest_response;     /* and its last answer */
	struct mmio_step step; /* of one vCPU at a time */
	u32 ioapic[IOAPIC_HALVES]; /* as the guest wrote them */
	u8 ioapic_index;
	u32 pci_address;        /* CF8 as the guest wrote it */
	u64 wall_clock_msr;
	u32 fw_cfg_high;        /* high half of the address of the guest's next command */
	u8 *fw_cfg_buffer;
	u8 refused[RECORD_REFUSED_DMA + 1]; /* records so far */
};

static inline struct vmpl_state *current(struct vcpu *vcpu) { return &vcpu->state[vcpu->vmpl]; }
static inline struct vapic *own_apic(struct vcpu *vcpu) { return &vcpu->apic[vcpu->vmpl]; }
static inline struct vapic *guest_apic(struct vcpu *vcpu) { return &vcpu->apic[vcpu->guest_vmpl]; }
static inline bool has_svsm(const struct hypervisor *hv) { return hv->config->guest_vmpl; }
static inline bool has_doorbell(const struct vcpu *vcpu) { return vcpu->doorbell.gpa != NO_GPA; }
static inline bool has_alternate_guest(const struct vcpu *vcpu) { return vcpu->state[vcpu->guest_vmpl].alternate; }
static inline struct vcpu *boot_vcpu(struct vcpu *vcpu) { return &vcpu->hv->vcpu[0]; } /* devices interrupt it */
static inline bool is_guest(const struct vcpu *vcpu) { return vcpu->vmpl == vcpu->guest_vmpl; }
static inline bool log_at(const struct vcpu *vcpu, u32 level) { return vcpu->log_level >= level; }
static inline u64 now_ns(const struct hypervisor *hv) { return clock_ns(hv->machine); }

/* A fixed interrupt for a virtual APIC, and where it came from. */
static inline void post_interrupt(struct vcpu *vcpu, struct vapic *apic, u8 vector, bool level, enum record_irq_source source)
{
	if (vapic_post(apic, vector, level))
		vcpu->irq_source[vector] = (u8)source;
}

/* This CONFIG_FAULT_*, a deliberate fault of the hypervisor, occurs now. */
static inline bool fault_now(struct vcpu *vcpu, u32 fault)
{
	const struct host_config *config = vcpu->hv->config;
	u32 count;

	if (!(config->faults & fault) || (config->fault_vcpu != UINT64_MAX && config->fault_vcpu != vcpu->index))
		return false;
	count = ++vcpu->fault_count[__builtin_ctz(fault)];
	return count > config->fault_after && (count - config->fault_after) % config->fault_every == 0;
}

#endif
