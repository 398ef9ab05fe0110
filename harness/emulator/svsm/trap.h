/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * GDT, IDT and exceptions. An exception of an instruction in the exception table (hardware.c)
 * resumes at the address in the table; #HV returns, or cancels the entry of the guest (run_vmpl.h); any other is reported on
 * the console and ends the guest.
 */
#ifndef SVSM_TRAP_H
#define SVSM_TRAP_H

#include "types.h"

/* What entry.S pushes, lowest address first. */
struct trap_frame {
	u64 r15, r14, r13, r12, r11, r10, r9, r8;
	u64 rbp, rdi, rsi, rdx, rcx, rbx, rax;
	u64 vector;
	u64 error;
	u64 rip;
	u64 cs;
	u64 rflags;
	u64 rsp;
	u64 ss;
};

/* Makes the IDT. Called on the vCPU that starts the SVSM. */
void trap_init(void);

/* Loads the GDT and IDT on the vCPU that calls it. */
void trap_load(void);

/* Called by entry.S. */
void trap_handle(struct trap_frame *frame);

#endif
