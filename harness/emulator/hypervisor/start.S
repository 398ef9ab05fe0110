/* SPDX-License-Identifier: GPL-2.0-or-later */
/* 64-bit entry of the emulator. */
#include "layout.h"

	.section .note.GNU-stack, "", @progbits
	.section .text.start, "ax"
	.code64
	.globl host_entry
host_entry:
	leaq host_stacks + STACK_SIZE - 64(%rip), %rsp
	testl %ebx, %ebx	/* reset.S: 1 on any processor but the first */
	jz 2f
	movl $0xFEE00020, %eax	/* its APIC ID, in bits 31:24 */
	movl (%rax), %eax
	shrl $24, %eax
	imulq $STACK_SIZE, %rax
	leaq catch_stacks + STACK_SIZE - 64(%rip), %rsp
	addq %rax, %rsp
2:	lgdt host_gdtr(%rip)
	pushq $0x08
	leaq 1f(%rip), %rax
	pushq %rax
	lretq
1:	movl $0x10, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
	testl %ebx, %ebx
	jz 2f
	movq 64-8(%rsp), %rdi	/* the vCPU, at the stack's top */
	call catch_main
2:	call host_main
3:	cli
	hlt
	jmp 3b

	.section .rodata
	.balign 16
host_gdt:
	.quad 0
	.quad 0x00AF9B000000FFFF /* 08: 64-bit code */
	.quad 0x00CF93000000FFFF /* 10: data */
host_gdtr:
	.word 23
	.quad host_gdt
