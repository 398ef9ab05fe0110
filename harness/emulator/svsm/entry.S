/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Entry from the host (see svsm_boot.h for the state) and exception stubs.
 */
#include "layout.h"

	.section .text.entry, "ax", @progbits
	.code64

/* RDI = GPA of struct svsm_boot. The stack moves to vCPU 0's area, so that RSP identifies the vCPU. */
	.globl svsm_start
	.type svsm_start, @function
svsm_start:
	cli
	cld
	lea vcpu_areas(%rip), %rsp
	add $VCPU_STACK_TOP, %rsp
	xor %ebp, %ebp
	call svsm_main
	ud2
	.size svsm_start, . - svsm_start

/* Another vCPU starts here, from the VMSA that ap.c made. RSP is in its area already. */
	.globl ap_start
	.type ap_start, @function
ap_start:
	cli
	cld
	xor %ebp, %ebp
	call ap_main
	ud2
	.size ap_start, . - ap_start

/*
 * One stub a vector, TRAP_STUB_SIZE bytes apart; trap_init() computes their addresses.
 * Each leaves: error code (0 where the CPU pushes none), vector on top.
 */
	.text
	.balign TRAP_STUB_SIZE
	.globl trap_stubs
trap_stubs:
	.set vector, 0
	.rept TRAP_VECTORS
	.balign TRAP_STUB_SIZE
	/* Vectors with an error code: 8, 10-14, 17, 21, 29, 30 (APM vol. 2, table 8-1) */
	.if ((1 << vector) & 0x60227D00) == 0
	push $0
	.endif
	push $vector
	jmp trap_common
	.set vector, vector + 1
	.endr

/* Builds struct trap_frame (trap.h) and calls trap_handle(frame). */
trap_common:
	.irp register, rax, rbx, rcx, rdx, rsi, rdi, rbp, r8, r9, r10, r11, r12, r13, r14, r15
	push %\register
	.endr
	cld
	mov %rsp, %rdi
	mov %rsp, %rbp
	and $-16, %rsp
	call trap_handle
	mov %rbp, %rsp
	.irp register, r15, r14, r13, r12, r11, r10, r9, r8, rbp, rdi, rsi, rdx, rcx, rbx, rax
	pop %\register
	.endr
	add $16, %rsp /* vector, error code */
	iretq

	.section .note.GNU-stack, "", @progbits
