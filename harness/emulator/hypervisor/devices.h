/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Interrupts of QEMU's devices: received from QEMU's APIC and PIC, delivered to vCPUs. */
#ifndef SNP_DEVICES_H
#define SNP_DEVICES_H

#include "vcpu.h"

void devices_interrupt(struct vcpu *vcpu); /* INTR and NMI exits */
void device_interrupt(struct vcpu *vcpu, u32 vector); /* QEMU's APIC has delivered `vector` (stubs.S) */

#endif
