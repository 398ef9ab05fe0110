/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sizes that C and assembly share.
 */
#ifndef SVSM_LAYOUT_H
#define SVSM_LAYOUT_H

/* struct vcpu_area (vcpu.h): its size is its alignment, so RSP & ~(size - 1) is the vCPU. */
#define VCPU_AREA_SIZE 0x8000
#define VCPU_STACK_TOP 0x5000 /* the first five pages: struct vcpu, then the stack down from here */
#define VCPU_GHCB_OFFSET 0x5000
#define VCPU_VMSA_OFFSET 0x6000
#define VCPU_DOORBELL_OFFSET 0x7000

#define TRAP_VECTORS   32
#define TRAP_STUB_SIZE 16

#endif
