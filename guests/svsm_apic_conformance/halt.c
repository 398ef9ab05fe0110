/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "halt.h"
#include "svsm_apic.h"
#include "tap.h"
#include "timer.h"
#include "trap.h"

#define PERIOD_US 20000

bool halt_ready(void)
{
	allow(HALT_VECTOR);
	return timer_start(TIMER_MSR, HALT_VECTOR, APIC_TIMER_PERIODIC, PERIOD_US) && comes(&interrupts[HALT_VECTOR], 1);
}
