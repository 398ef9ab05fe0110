/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Events into the guest: #VC, and events that an exit interrupted. */
#ifndef SNP_HW_EVENT_H
#define SNP_HW_EVENT_H

#include "cpu.h"

void event_vc(struct hw_cpu *cpu, u64 code); /* #VC with `code` as its error code (APM vol. 2, 15.35.5) */
void event_after_exit(struct hw_cpu *cpu);

#endif
