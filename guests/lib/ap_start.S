/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where an AP starts: by SIPI in real mode, or from a VMSA in 64-bit code with its number in RDI. */
#include "cpu_modes.h"

/* Where SIPI finds a part of the trampoline. */
#define COPY_OF(symbol) AP_START+symbol-ap_trampoline

	.section .note.GNU-stack, "", @progbits
	.section .rodata
	.globl ap_trampoline, ap_trampoline_end
	.code16
ap_trampoline:
	ENTER_PROTECTED_MODE "gdtr - ap_trampoline", COPY_OF(start32)
	.code32
start32:
	LOAD_DATA_SEGMENTS
	movl $1, %eax		/* the initial APIC ID is its number */
	cpuid
	shrl $24, %ebx
	movl %ebx, %edi
	ENTER_LONG_MODE ap_entry
	BOOT_GDT COPY_OF(gdt)
ap_trampoline_end:

	.text
	.code64
	.globl ap_entry
ap_entry:
	movl %edi, %edi
	movq %rdi, %rsp
	incq %rsp
	imulq $AP_STACK_SIZE, %rsp
	addq $ap_stacks, %rsp
	xorl %ebp, %ebp
	call ap_main
