/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * SVSM protocols: one file each (protocol_core.c), listed in protocol.c.
 */
#ifndef SVSM_PROTOCOL_H
#define SVSM_PROTOCOL_H

#include "svsm.h"
#include "vcpu.h"

/* The call's registers, copied from the VMSA; RCX, RDX and R8 go back to it. */
struct svsm_request {
	u32 protocol;
	u32 call;
	u64 rcx;
	u64 rdx;
	u64 r8;
	u64 sev_features; /* of the calling VMSA */
};

struct protocol {
	u32 version_min;
	u32 version_max;
	u64 (*request)(struct vcpu *vcpu, struct svsm_request *request); /* result for RAX */
};

/* Fills *protocol; false when this vCPU has no such protocol. */
bool protocol_find(const struct vcpu *vcpu, u32 number, struct protocol *protocol);

/* Serves one call: the result for RAX. */
u64 protocol_dispatch(struct vcpu *vcpu, struct svsm_request *request);

/* protocol_core.c */
u64 protocol_core_request(struct vcpu *vcpu, struct svsm_request *request);

/* protocol_apic.c */
bool protocol_apic_offered(const struct vcpu *vcpu);
u64 protocol_apic_request(struct vcpu *vcpu, struct svsm_request *request);

/* faults.c: the deliberate faults of the boot block (SVSM_FAULT_*); protocol_apic_request() with those of its protocol. */
u64 faults_apic_request(struct vcpu *vcpu, struct svsm_request *request);
bool faults_lose_apic_protocol(struct svsm *svsm);
bool faults_answer(struct svsm *svsm, u64 call, u64 *result); /* instead of the protocol */
bool faults_keep_pending(struct svsm *svsm, u64 call);

#endif
