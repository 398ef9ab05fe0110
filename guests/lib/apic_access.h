/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The hypervisor's local APIC in the mode that it is in: by MMIO in xAPIC mode, by MSR in x2APIC mode. */
#ifndef GUEST_APIC_ACCESS_H
#define GUEST_APIC_ACCESS_H

#include "apic.h"
#include "types.h"

#define MODE_BITS (APIC_BASE_EN | APIC_BASE_EXTD)
#define BASE(mode) (APIC_DEFAULT_BASE | APIC_BASE_BSP | (mode))

/* The x2APIC MSR of a register (apic.h). */
#define X2(reg) (MSR_X2APIC_FIRST + (reg) / 16)

u64 apic_base(void);
bool apic_is_x2(void);
u64 apic_read(u32 reg);
void apic_write(u32 reg, u64 value); /* the ICR has 64 bits in x2APIC mode; in xAPIC mode its high half is ICR2 */
bool apic_set_mode(u64 mode);        /* by legal transitions; mode: 0, APIC_BASE_EN or MODE_BITS */
void apic_prepare(u64 mode);         /* set the mode; software enabled, everything masked, nothing in service */

#endif
