/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Accesses to a local APIC, recorded as the processor makes them. */
#ifndef SNP_OBSERVE_H
#define SNP_OBSERVE_H

#include "cpu.h"

/* At the #VMEXIT, before anything else can happen to the access. Anything but a local APIC is ignored. */
void observe_msr(struct hw_cpu *cpu);
void observe_mmio(struct hw_cpu *cpu, u64 gpa); /* an #NPF at a GPA without memory */

#endif
