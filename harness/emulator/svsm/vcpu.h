/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * State of the SVSM and of each of its vCPUs.
 */
#ifndef SVSM_VCPU_H
#define SVSM_VCPU_H

#include "apic_timer.h"
#include "lapic.h"
#include "layout.h"
#include "lock.h"
#include "memory_map.h"
#include "svsm_boot.h"
#include "vmsa.h"
#include "vmsa_registry.h"

#define SVSM_VCPUS_MAX 64

struct svsm;

struct vcpu {
	struct svsm *svsm;
	u32 index;
	u32 apic_id;
	bool online;    /* runs its own request loop at VMPL0 */
	bool in_trap;   /* a second exception while one is reported */
	u8 *ghcb;       /* shared view; NULL until ghcb_init() */
	u64 ghcb_gpa;
	bool console;   /* console_init() has been done */
	u64 vmsa_gpa;   /* the guest's VMSA on this vCPU; 0: none. Other vCPUs write it */
	u64 caa_gpa;    /* its calling area; written before vmsa_gpa */
	bool created;   /* vmsa_gpa is new: the vCPU starts as after INIT. Atomic, written before vmsa_gpa */
	u32 refusals;   /* refused calls so far, for the console */
	/* Alternate Injection (alternate.h) */
	u8 *doorbell;      /* shared view; NULL without Alternate Injection */
	bool emulation;    /* the guest's APIC on this vCPU is `lapic` */
	u32 host_refusals; /* NAE events for it that the hypervisor refused, for the console */
	struct lapic lapic;
	struct lapic_inbox inbox;
	struct apic_timer timer;
};

/* What all vCPUs share. */
struct svsm {
	struct svsm_boot boot; /* the SVSM's own copy */
	u32 cpuid_signature; /* RDX at reset: CPUID 1 EAX */
	struct memory_map memory;
	struct lock core_lock;    /* core protocol: VMSAs and calling areas, page state changes */
	struct lock console_lock; /* held for one line */
	struct vmsa_registry vmsas;
	u64 hv_features;  /* HV_FEATURE_* */
	u64 sev_status;   /* SEV_STATUS_* at VMPL0 */
	u16 ghcb_version;
	u32 vcpus;        /* entries of vcpu_areas in use */
	u32 apic_registrations; /* APIC protocol, CONFIGURE: 0 ends emulation */
	u32 fault_occasions[SVSM_FAULTS]; /* by bit of SVSM_FAULT_*: occasions so far */
};

/* A vCPU with its stack and its pages; never 2 MiB aligned, so the VMSA is not either (see CREATE_VCPU). */
struct vcpu_area {
	union {
		struct vcpu vcpu;
		u8 stack[VCPU_STACK_TOP];
	};
	u8 ghcb[PAGE_SIZE];
	struct vmsa vmsa; /* vCPU 0: the launch VMSA of the guest; others: that of VMPL0 */
	u8 doorbell[PAGE_SIZE];
} __attribute__((aligned(VCPU_AREA_SIZE)));

_Static_assert(sizeof(struct vcpu_area) == VCPU_AREA_SIZE, "layout.h");
_Static_assert(offsetof(struct vcpu_area, ghcb) == VCPU_GHCB_OFFSET, "layout.h");
_Static_assert(offsetof(struct vcpu_area, vmsa) == VCPU_VMSA_OFFSET, "layout.h");
_Static_assert(offsetof(struct vcpu_area, doorbell) == VCPU_DOORBELL_OFFSET, "layout.h");
_Static_assert(sizeof(struct vcpu) <= 512, "the stack needs the rest");

extern struct vcpu_area vcpu_areas[SVSM_VCPUS_MAX];

/* The vCPU whose stack this is. */
static inline struct vcpu *vcpu_current(void)
{
	return (struct vcpu *)((u64)__builtin_frame_address(0) & ~(VCPU_AREA_SIZE - 1ull));
}

/* The vCPU with an APIC ID, or NULL. APIC IDs are vCPU numbers on this host. */
static inline struct vcpu *vcpu_by_apic_id(const struct svsm *svsm, u32 apic_id)
{
	return apic_id < svsm->vcpus ? &vcpu_areas[apic_id].vcpu : NULL;
}

#endif
