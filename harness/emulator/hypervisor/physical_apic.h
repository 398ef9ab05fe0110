/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QEMU's APIC and PIC, which belong to the hypervisor: they receive the interrupts of QEMU's devices, and have the timer. */
#ifndef SNP_PHYSICAL_APIC_H
#define SNP_PHYSICAL_APIC_H

#include "vcpu.h"

#define PHYSICAL_TIMER_VECTOR 0xFE /* a local vector, which guests do not use for devices */

void physical_setup(struct vcpu *boot);
void physical_enable(void);                       /* this processor's APIC */
void physical_set_destination(struct vcpu *vcpu); /* it accepts what the vCPU's accepts */
void physical_send(u32 apic_id, u32 icr);         /* from it to another one */
void physical_mirror_pic(struct vcpu *vcpu); /* connect the PIC to the guest, or disconnect it */
void physical_close_pic(void);               /* disconnect it until physical_mirror_pic() */
bool physical_pic_is_masked(void);           /* the guest has masked all of the PIC: it makes no more requests */
void physical_arm_timer(struct hypervisor *hv, u64 deadline_ns); /* NO_DEADLINE: disarm */
bool physical_in_service(u32 vector, bool *level);
void physical_eoi(void);
void physical_end_level(struct vcpu *of, u8 vector); /* specific EOI: the device may request again */
void physical_retry_dropped(struct vcpu *vcpu);

#endif
