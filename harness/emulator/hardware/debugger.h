/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the emulator shows a debugger outside of the machine: see include/view.h. */
#ifndef SNP_HW_DEBUGGER_H
#define SNP_HW_DEBUGGER_H

#include "cpu.h"

void debugger_add_slot(const struct hw *hw, const struct hw_slot *slot, const struct rmp_entry *entries);
void debugger_add_cpu(const struct hw_cpu *cpu);
void debugger_set_running(const struct hw_cpu *cpu);

#endif
