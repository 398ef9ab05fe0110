/* SPDX-License-Identifier: GPL-2.0-or-later */
/* 64-bit entry, exception and interrupt stubs, and a call that a trap can end. */
#include "cpu_modes.h"

#define HOOK_MAIN 0 /* struct guest_hooks */

	.section .note.GNU-stack, "", @progbits
	.section .text.entry, "ax"
	.globl entry
entry:
	LOAD_DATA_SEGMENTS
	movl $STACK_TOP, %esp
	call *guest_hooks + HOOK_MAIN
1:	hlt
	jmp 1b

	.text
	.macro STUBS name, push_zero
	.balign 16
	.globl \name
\name:
	.set vector, 0
	.rept 256
	.balign 16
	.if \push_zero
	pushq $0
	.endif
	pushq $vector
	jmp trap_common
	.set vector, vector + 1
	.endr
	.endm

	STUBS stubs_plain, 1
	STUBS stubs_error, 0

trap_common:
	pushq %rax
	pushq %rcx
	pushq %rdx
	pushq %rbx
	pushq %rbp
	pushq %rsi
	pushq %rdi
	pushq %r8
	pushq %r9
	pushq %r10
	pushq %r11
	pushq %r12
	pushq %r13
	pushq %r14
	pushq %r15
	movq %rsp, %rdi
	cld
	call on_trap
	popq %r15
	popq %r14
	popq %r13
	popq %r12
	popq %r11
	popq %r10
	popq %r9
	popq %r8
	popq %rdi
	popq %rsi
	popq %rbp
	popq %rbx
	popq %rdx
	popq %rcx
	popq %rax
	addq $16, %rsp
	iretq

/* void protect(void (*function)(u64 argument), u64 argument) */
	.globl protect, protect_end, protect_rsp
protect:
	pushq %rbx
	pushq %rbp
	pushq %r12
	pushq %r13
	pushq %r14
	pushq %r15
	pushq protect_rsp
	movq %rsp, protect_rsp
	movq %rdi, %rax
	movq %rsi, %rdi
	call *%rax
protect_end:
	movq protect_rsp, %rsp
	popq protect_rsp
	popq %r15
	popq %r14
	popq %r13
	popq %r12
	popq %rbp
	popq %rbx
	ret

	.bss
	.balign 8
protect_rsp: .quad 0
