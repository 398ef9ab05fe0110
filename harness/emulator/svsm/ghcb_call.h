/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Calls of the hypervisor: GHCB MSR protocol and NAE events.
 */
#ifndef SVSM_GHCB_CALL_H
#define SVSM_GHCB_CALL_H

#include "ghcb.h"
#include "vcpu.h"

/* Reason codes of set GHCB_TERM_SET_SVSM. */
enum svsm_termination {
	SVSM_TERM_EXCEPTION = 1,   /* an exception, reported on the console */
	SVSM_TERM_BOOT_BLOCK = 2,  /* the boot block is inconsistent */
	SVSM_TERM_NO_SNP = 3,      /* SEV_STATUS has no SNP at VMPL0 */
	SVSM_TERM_GHCB = 4,        /* the GHCB could not be set up */
	SVSM_TERM_FEATURE = 5,     /* a hypervisor feature is missing */
	SVSM_TERM_GUEST_MEMORY = 6, /* the guest's pages could not be handed over */
	SVSM_TERM_VMSA = 7,        /* the guest's VMSA was refused */
	SVSM_TERM_RUN = 8,         /* the guest's VMPL cannot be run */
	SVSM_TERM_INJECTION = 9,   /* the hypervisor refuses an event that Alternate Injection needs */
	SVSM_TERM_MACHINE_CHECK = 10, /* the hypervisor reported one */
	SVSM_TERM_AP = 11,         /* another vCPU could not be started */
};

/* One exchange of the MSR protocol: the value of MSR C0010130 after the VMGEXIT. */
u64 ghcb_msr_call(u64 request);

_Noreturn void ghcb_terminate(enum svsm_termination reason);

/* The protocol version that both sides support; 0: none. *cbit: the hypervisor's C-bit position. */
u16 ghcb_negotiate(u32 *cbit);

/* HV_FEATURE_*. */
u64 ghcb_hv_features(void);

/* Makes one of the SVSM's own pages shared and empty. Returns its shared view; NULL: hypervisor or RMP refuse. */
u8 *ghcb_share_page(u64 gpa);

/* Shares the vCPU's GHCB page and registers it; false when the hypervisor or the RMP refuses. */
bool ghcb_init(struct vcpu *vcpu);

/* One NAE event. Registers and the scratch address are passed only if the has_ field is set. */
struct nae_event {
	u64 code; /* enum nae_code */
	u64 info1;
	u64 info2;
	bool has_rax;
	u64 rax; /* in and out; RCX and RDX likewise */
	bool has_rcx;
	u64 rcx;
	bool has_rdx;
	u64 rdx;
	bool has_scratch;
	u64 scratch; /* GPA, shared */
};

/* True when the hypervisor answered without an error. */
bool ghcb_call(struct vcpu *vcpu, struct nae_event *event);

/* IN or OUT by such an event: `flags` are NAE_IOIO_*, the value in and out. False: as above. */
bool ghcb_port(struct vcpu *vcpu, u16 port, u64 flags, u64 *value);

#endif
