/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Restricted injection of VMPL0: its #HV doorbell page. */
#ifndef SNP_DOORBELL_H
#define SNP_DOORBELL_H

#include "ghcb.h"
#include "vcpu.h"

bool doorbell_set(struct vcpu *vcpu, u64 gpa); /* NO_GPA: none */
void doorbell_post_own(struct vcpu *vcpu, u8 vector); /* for VMPL0 itself */
volatile struct ghcb_doorbell_vmpl *doorbell_entry(struct vcpu *vcpu, u32 vmpl); /* NULL: no page */
bool doorbell_post(struct vcpu *vcpu, u32 vmpl, u8 vector, bool level); /* false: it has to wait */
void doorbell_post_nmi(struct vcpu *vcpu, u32 vmpl);
void doorbell_flush(struct vcpu *vcpu); /* VMPL0's own vectors */
void doorbell_before_entry(struct vcpu *vcpu); /* of VMPL0 */

#endif
