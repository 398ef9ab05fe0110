/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Entries of exceptions and physical interrupts of the emulator. */
#include "layout.h"

	.section .note.GNU-stack, "", @progbits
	.text
/* The registers that C may change. */
	.macro SAVE
	.irp register, rax, rcx, rdx, rsi, rdi, r8, r9, r10, r11
	pushq %\register
	.endr
	.endm

	.macro RESTORE
	.irp register, r11, r10, r9, r8, rdi, rsi, rdx, rcx, rax
	popq %\register
	.endr
	.endm

/* Exceptions: vector and error code on the stack, then host_exception(frame). */
	.macro EXCEPTION vector
exception_\vector:
	.if (\vector == 8) || ((\vector >= 10) && (\vector <= 14)) || (\vector == 17)
	.else
	pushq $0
	.endif
	pushq $\vector
	jmp exception_common
	.endm

	.irp vector, 0,1,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
	EXCEPTION \vector
	.endr

exception_2: /* NMI: blocked by GIF except where interrupts.c takes it, with other stubs */
	iretq

exception_common:
	SAVE
	leaq 72(%rsp), %rdi
	call host_exception /* returns when the frame's RIP was changed */
	RESTORE
	addq $16, %rsp
	iretq

/* Physical interrupts, any vector. Each stub is 8 bytes. */
	.balign 8
	.globl interrupt_stubs
interrupt_stubs:
	.set vector, 0
	.rept 256
	.balign 8
	pushq $((vector ^ 0x80) - 0x80) /* sign-extended imm8; the stub below takes the low byte */
	.byte 0xE9
	.long interrupt_common - . - 4
	.set vector, vector + 1
	.endr

interrupt_common:
	SAVE
	movzbl 72(%rsp), %esi
	movq %rsp, %rdi
	orq $(STACK_SIZE - 1), %rdi
	movq -15(%rdi), %rax /* the handler, below the vCPU at the stack's top */
	movq -7(%rdi), %rdi
	call *%rax
	RESTORE
	addq $8, %rsp
	iretq

	.section .rodata
	.balign 8
	.globl exception_table
exception_table:
	.irp vector, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
	.quad exception_\vector
	.endr
