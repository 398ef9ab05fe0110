/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Alternate Injection, the hypervisor's part: requests of the guest's APIC go to VMPL0's doorbell page. */
#ifndef SNP_ALTERNATE_H
#define SNP_ALTERNATE_H

#include "vcpu.h"

void alternate_setup(struct vcpu *vcpu);
void alternate_begin(struct vcpu *vcpu, u32 vmpl, u64 features); /* a VMSA was registered */
bool alternate_disable(struct vcpu *vcpu, u32 vmpl, u8 tpr); /* the hypervisor's APIC takes over; false: it was not on */
void alternate_post(struct vcpu *vcpu); /* requests of the guest's hypervisor APIC go to the doorbell page */
void alternate_log_anew(struct vcpu *vcpu); /* CONFIGURE_VECTOR: log each vector once more */

#endif
