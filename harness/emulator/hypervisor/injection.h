/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Interrupts for the guest, through its virtual APIC. */
#ifndef SNP_INJECTION_H
#define SNP_INJECTION_H

#include "vcpu.h"

void injection_setup(struct vcpu *vcpu);
void injection_before_entry(struct vcpu *vcpu); /* may switch to VMPL0 */
void injection_after_exit(struct vcpu *vcpu, const struct hw_exit *exit);
/* NMIs of a plain guest: exits before and after the IRET of its NMI handler. */
void injection_iret(struct vcpu *vcpu);
void injection_after_iret(struct vcpu *vcpu);
void injection_open_nmi(struct vcpu *vcpu); /* NMIs are not blocked any more */
void injection_arm_timer(struct vcpu *vcpu); /* QEMU's timer, for the next virtual timer or the end of the slice */
bool injection_guest_is_ready(struct vcpu *vcpu); /* it can take an interrupt at its next instruction */

#endif
