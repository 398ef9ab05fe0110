/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Instructions that SNP processors have and TCG has not. */
#ifndef SNP_HW_UNDEFINED_H
#define SNP_HW_UNDEFINED_H

#include "cpu.h"

/* #UD of a guest with SEV-ES: carries the instruction out, or delivers the exception. */
void undefined_exit(struct hw_cpu *cpu, struct hw_exit *exit);
/* #GP: the same for XRSTOR of a compacted area, which TCG refuses. */
void gp_exit(struct hw_cpu *cpu, struct hw_exit *exit);

#endif
