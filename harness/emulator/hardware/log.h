/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SNP_HW_LOG_H
#define SNP_HW_LOG_H

#include "cpu.h"

void log_exit(struct hw_cpu *cpu, u64 code); /* count an #VMEXIT */

#endif
