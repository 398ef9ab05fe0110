/* SPDX-License-Identifier: GPL-2.0-or-later */
/* PVALIDATE and RMPADJUST, which TCG does not implement, and batches of them (sev.h). */
#ifndef SNP_HW_RMP_INSTRUCTION_H
#define SNP_HW_RMP_INSTRUCTION_H

#include "cpu.h"
#include "insn.h"

/* Executes it, or returns an #NPF for the hypervisor; then rmp_instruction_retry() continues. */
void rmp_instruction(struct hw_cpu *cpu, enum insn_simple which, u8 length, struct hw_exit *exit);
void rmp_instruction_retry(struct hw_cpu *cpu, struct hw_exit *exit);

#endif
