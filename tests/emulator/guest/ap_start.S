/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where an AP starts: by SIPI in real mode, from a VMSA in 64-bit code with its number in RDI. */
#include "layout.h"

#define AP_START      0x8000 /* ap.h, as well as the next */
#define AP_STACK_SHIFT 12
#define MSR_EFER      0xC0000080

	.section .note.GNU-stack, "", @progbits
	.section .rodata
	.globl ap_trampoline, ap_trampoline_end
	.code16
ap_trampoline:
	cli
	lgdtl %cs:(gdtr - ap_trampoline)
	movl %cr0, %eax
	andl $0x1FFFFFFF, %eax
	orl $1, %eax
	movl %eax, %cr0
	ljmpl $SELECTOR_CODE32, $(AP_START + start32 - ap_trampoline)
	.code32
start32:
	movw $SELECTOR_DATA, %ax
	movw %ax, %ds
	movw %ax, %es
	movw %ax, %ss
	movl %cr4, %eax
	orl $0x220, %eax	/* PAE, OSFXSR */
	movl %eax, %cr4
	movl $PAGE_TABLES, %eax
	movl %eax, %cr3
	movl $MSR_EFER, %ecx
	rdmsr
	orl $0x100, %eax	/* LME */
	wrmsr
	movl $1, %eax		/* the initial APIC ID is its number */
	cpuid
	shrl $24, %ebx
	movl %ebx, %edi
	movl %cr0, %eax
	orl $0x80010000, %eax	/* PG, WP */
	movl %eax, %cr0
	ljmpl $SELECTOR_CODE, $ap_entry
	.balign 8
gdt:
	.quad 0
	.quad 0x00AF9B000000FFFF
	.quad 0x00CF93000000FFFF
	.quad 0x00CF9B000000FFFF
gdtr:
	.word 31
	.long AP_START + gdt - ap_trampoline
ap_trampoline_end:

	.text
	.code64
	.globl ap_entry
ap_entry:
	movl %edi, %edi
	movq %rdi, %rsp
	incq %rsp
	shlq $AP_STACK_SHIFT, %rsp
	addq $ap_stacks, %rsp
	xorl %ebp, %ebp
	call ap_main
