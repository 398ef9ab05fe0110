/* SPDX-License-Identifier: GPL-2.0-or-later */
/* NAE events: requests in the GHCB page (publication 56421, section 4). */
#ifndef SNP_NAE_H
#define SNP_NAE_H

#include "ghcb.h"
#include "vcpu.h"

void nae_event(struct vcpu *vcpu, u64 ghcb_gpa);

/* The rest is for nae.c and the other nae_*.c only. */

/* An event being served. `ghcb` is the shared page. */
struct nae {
	u8 *ghcb;
	u64 gpa;
	u64 code;
	u64 info1;
	u64 info2;
	u64 pc; /* of the instruction that raised the #VC */
	u64 result1;
	u64 result2;
	u8 valid[GHCB_VALID_BITMAP_SIZE]; /* what the guest supplied */
};

static inline void nae_refuse(struct nae *nae, enum nae_malformed why)
{
	nae->result1 = NAE_RESULT_MALFORMED;
	nae->result2 = why;
}

/* nae_page.c: registers in the GHCB */
u64 nae_get(const struct nae *nae, u32 offset);
void nae_set(struct nae *nae, u32 offset, u64 value);
bool nae_supplied(const struct nae *nae, u32 offset);
bool nae_need(struct nae *nae, u32 a, u32 b); /* false, and the answer set, when the guest has not supplied both */

/* nae_ap.c */
void nae_ap_creation(struct vcpu *vcpu, struct nae *nae);
void nae_ap_reset_hold(struct vcpu *vcpu, struct nae *nae);
void nae_apic_ids(struct vcpu *vcpu, struct nae *nae);
void nae_ap_jump_table(struct vcpu *vcpu, struct nae *nae);

/* nae_request.c */
void nae_guest_request(struct vcpu *vcpu, struct nae *nae);
void nae_extended_guest_request(struct vcpu *vcpu, struct nae *nae);

/* nae_interrupts.c */
void nae_doorbell(struct vcpu *vcpu, struct nae *nae);
void nae_hv_ipi(struct vcpu *vcpu, struct nae *nae);
void nae_hv_timer(struct vcpu *vcpu, struct nae *nae);
void nae_configure_injection(struct vcpu *vcpu, struct nae *nae);
void nae_disable_alternate_injection(struct vcpu *vcpu, struct nae *nae);
void nae_specific_eoi(struct vcpu *vcpu, struct nae *nae);

#endif
