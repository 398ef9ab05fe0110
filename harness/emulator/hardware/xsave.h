/* SPDX-License-Identifier: GPL-2.0-or-later */
/* XSAVEC, XSAVES and XRSTORS, and XRSTOR of a compacted area: TCG has XSAVE and XRSTOR in standard format only. */
#ifndef SNP_HW_XSAVE_H
#define SNP_HW_XSAVE_H

#include "cpu.h"
#include "insn.h"

void xsave_setup(void);
/* Executes it, or injects its exception; `exit` may be an #NPF of its operand. */
void xsave_instruction(struct hw_cpu *cpu, const struct insn_extended *insn, struct hw_exit *exit);

#endif
