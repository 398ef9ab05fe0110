/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Alternate Injection (APM vol. 2, 15.36.16): a VMPL's interrupts are in vintr_ctrl and event_inj of its VMSA. */
#ifndef SNP_HW_ALTERNATE_H
#define SNP_HW_ALTERNATE_H

#include "cpu.h"
#include "vmsa.h"

void alternate_load(struct hw_cpu *cpu, struct hw_vmpl *state, const struct vmsa *vmsa);
void alternate_save(struct hw_cpu *cpu, struct hw_vmpl *state, struct vmsa *vmsa);
void alternate_before_entry(struct hw_cpu *cpu);
void alternate_after_exit(struct hw_cpu *cpu);
void alternate_cut_short(struct hw_cpu *cpu);
void alternate_set_tpr(struct hw_cpu *cpu, u8 cr8);

#endif
