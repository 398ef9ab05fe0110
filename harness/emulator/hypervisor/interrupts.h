/* SPDX-License-Identifier: GPL-2.0-or-later */
/* When physical interrupts are taken. */
#ifndef SNP_INTERRUPTS_H
#define SNP_INTERRUPTS_H

#include "vcpu.h"

/* The entries of 32 exceptions, and 256 stubs of 8 bytes for physical interrupts (stubs.S). */
void interrupts_setup(const u64 *exception_table, const u8 *interrupt_stubs);
void interrupts_take(void); /* those that are pending */
void interrupts_wait(void); /* sleep until one was taken */

#endif
