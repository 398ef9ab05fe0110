/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SNP_HW_VMSA_SWITCH_H
#define SNP_HW_VMSA_SWITCH_H

#include "cpu.h"

void switch_start(struct hw_cpu *cpu);       /* load the first VMPL into the processor */
void switch_save_hidden(struct hw_cpu *cpu); /* FS, GS, TR ... into the VMCB */

#endif
