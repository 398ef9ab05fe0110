/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The HPET's registers (IA-PC HPET specification 1.0a, 2.3), where QEMU has it. */
#ifndef SNP_HPET_REGISTERS_H
#define SNP_HPET_REGISTERS_H

#include "types.h"

#define HPET_BASE         0xFED00000ull
#define HPET_CAPABILITIES 0x000 /* 63:32: length of a tick in femtoseconds */
#define HPET_CONFIG       0x010
#define HPET_RUN          1u    /* in the configuration: the counter runs */
#define HPET_STATUS       0x020
#define HPET_COUNTER      0x0F0

/* Timers: HPET_TIMER_SIZE bytes each from HPET_TIMERS on, first the configuration with these bits, then the value. */
#define HPET_TIMERS       0x100
#define HPET_TIMER_SIZE   0x20
#define HPET_TIMER_VALUE  0x08
#define HPET_LEVEL        BIT(1)
#define HPET_ENABLE       BIT(2)
#define HPET_PERIODIC     (BIT(3) | BIT(6)) /* also: the next write of the value sets the period */
#define HPET_ROUTE_SHIFT  9
#define HPET_FSB_ENABLE   BIT(14)

#endif
