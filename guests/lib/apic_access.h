/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The hypervisor's local APIC in either mode: by MMIO, or by MSR. */
#ifndef GUEST_APIC_ACCESS_H
#define GUEST_APIC_ACCESS_H

#include "apic.h"
#include "types.h"

#define MODE_BITS (APIC_BASE_EN | APIC_BASE_EXTD)
#define BASE(mode) (APIC_DEFAULT_BASE | APIC_BASE_BSP | (mode))

u64 apic_base(void);
bool apic_is_x2(void);
u64 apic_read(u32 reg);
void apic_write(u32 reg, u64 value); /* ICR in x2APIC mode: the MSR; in xAPIC mode the low half */
bool apic_set_mode(u64 mode);        /* by legal transitions: 0, APIC_BASE_EN, MODE_BITS */
void apic_prepare(u64 mode);         /* that mode, software enabled, everything masked, nothing in service */

#endif
