/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Code at CPL 3, and an access without paging. */
#include "layout.h"

#define END_PRIVATE_MMIO 10 /* enum ending */

	.section .note.GNU-stack, "", @progbits
	.text

/* void user_run(u64 rip): runs code until it traps; on_trap() sends it to user_end. */
	.globl user_run, user_end, user_rsp
user_run:
	pushq %rbx
	pushq %rbp
	pushq %r12
	pushq %r13
	pushq %r14
	pushq %r15
	movq %rsp, user_rsp
	pushq $SELECTOR_USER_DATA
	pushq $USER_STACK
	pushq $2
	pushq $SELECTOR_USER_CODE
	pushq %rdi
	xorl %ecx, %ecx
	xorl %edx, %edx
	movl $TEST_AREA + 0x2000, %eax
	iretq
user_end:
	popq %r15
	popq %r14
	popq %r13
	popq %r12
	popq %rbp
	popq %rbx
	ret

	.globl user_cpuid, user_pvalidate, user_rmpadjust
user_cpuid:
	cpuid
	ud2
user_pvalidate:
	.byte 0xF2, 0x0F, 0x01, 0xFF
	ud2
user_rmpadjust:
	.byte 0xF3, 0x0F, 0x01, 0xFE
	ud2

	.code32
	.globl before_paging
before_paging:
	cmpl $END_PRIVATE_MMIO, PARAMETERS + 16
	jne 1f
	movl 0xFED000F0, %eax
1:	ret

	.bss
	.balign 8
user_rsp: .quad 0
