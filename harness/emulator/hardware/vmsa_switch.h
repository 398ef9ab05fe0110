/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SNP_HW_VMSA_SWITCH_H
#define SNP_HW_VMSA_SWITCH_H

#include "cpu.h"
#include "vmsa.h"

void vmsa_launch(struct hw_cpu *cpu, struct vmsa *vmsa); /* its VMPL starts on it; it has no GPA, so nothing is saved there */

#endif
