/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Code at CPL 3, and an access without paging. */
#include "layout.h"
#include "numbers.h"

	.section .note.GNU-stack, "", @progbits
	.text

/* void user_run(u64 rip): runs the code at CPL 3 until it traps, which ends protect(). */
	.globl user_run
user_run:
	movq %rdi, %rsi
	movq $enter_user, %rdi
	jmp protect

enter_user:
	pushq $SELECTOR_USER_DATA
	pushq $USER_STACK
	pushq $2
	pushq $SELECTOR_USER_CODE
	pushq %rdi
	xorl %ecx, %ecx
	xorl %edx, %edx
	movl $TEST_AREA + 0x2000, %eax
	iretq

	.globl user_cpuid, user_pvalidate, user_rmpadjust, user_invlpgb, user_tlbsync
	.globl user_xsavec, user_xsaves, user_xrstors, user_xrstor
user_cpuid:
	cpuid
	ud2
user_pvalidate:
	.byte 0xF2, 0x0F, 0x01, 0xFF
	ud2
user_rmpadjust:
	.byte 0xF3, 0x0F, 0x01, 0xFE
	ud2
user_invlpgb:
	.byte 0x0F, 0x01, 0xFE
	ud2
user_tlbsync:
	.byte 0x0F, 0x01, 0xFF
	ud2
user_xsavec:
	xsavec (%rax)
	ud2
user_xsaves:
	xsaves (%rax)
	ud2
user_xrstors:
	xrstors (%rax)
	ud2
user_xrstor:
	xrstor (%rax)
	ud2

/* void NAME(u8 *area, u64 features): the instruction in 32-bit code. */
	.macro COMPAT name, instruction
	.globl \name
\name:
	movl %edi, %ecx
	movl %esi, %eax
	xorl %edx, %edx
	pushq $SELECTOR_CODE32
	pushq $1f
	lretq
	.code32
1:	\instruction (%ecx)
	ljmpl $SELECTOR_CODE, $2f
	.code64
2:	ret
	.endm

	COMPAT compat_xsavec, xsavec
	COMPAT compat_xrstors, xrstors

/* void before_paging(void) */
	.code32
	.globl before_paging
before_paging:
	cmpl $END_UNPAGED_ACCESS, PARAMETERS + END_OFFSET
	jne 1f
	movl 0xFED000F0, %eax
1:	ret
