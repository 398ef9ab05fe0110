/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Physical interrupts: when they are taken, and those of QEMU's devices (devices.c). */
#ifndef SNP_INTERRUPTS_H
#define SNP_INTERRUPTS_H

#include "vcpu.h"

void interrupts_setup(void); /* and exceptions of the emulator */
void interrupts_on_this_processor(void); /* QEMU's others get interrupts only */
void interrupts_take(void); /* those that are pending */
void interrupts_wait(void); /* sleep until one was taken */

void devices_interrupt(struct vcpu *vcpu); /* INTR and NMI exits */
void device_interrupt(struct vcpu *vcpu, u32 vector); /* QEMU's APIC has delivered `vector` (stubs.S) */

#endif
