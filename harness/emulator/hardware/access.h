/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Accesses of the guest to memory: nested table, RMP and C-bit. */
#ifndef SNP_HW_ACCESS_H
#define SNP_HW_ACCESS_H

#include "cpu.h"

/* Handle an #NPF of QEMU: complete the access, inject #VC, or leave it to the hypervisor. */
void access_fault(struct hw_cpu *cpu, struct hw_exit *exit);
/* After each exit while cpu->executable[0] is not NO_GPA: those pages are not executable any more. */
void access_after_exit(struct hw_cpu *cpu);
void access_violation(struct hw_cpu *cpu, u64 gpa_with_c, u32 entry, u64 info, enum record_violation what);

#endif
