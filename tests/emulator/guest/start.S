/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The test guest's reset vector: to 32-bit code, one #VC there (CPUID), then to 64-bit code in RAM.
 * Lies in the image's last page, which has the CPU's reset vector at its end.
 */
#include "layout.h"

#define GHCB_MSR 0xC0010130
#define MSR_EFER 0xC0000080

	.section .note.GNU-stack, "", @progbits
	.section .start, "ax"
	.code16
start_page:
start16:
	cli
	lgdtl %cs:(gdtr - start_page + 0xF000)
	movl %cr0, %eax
	andl $0x1FFFFFFF, %eax
	orl $1, %eax
	movl %eax, %cr0
	ljmpl $SELECTOR_CODE32, $start32

	.code32
start32:
	movw $SELECTOR_DATA, %ax
	movw %ax, %ds
	movw %ax, %es
	movw %ax, %ss
	movl $STACK_TOP, %esp
	cld
	movl $PAYLOAD_FLASH, %esi
	movl $PAYLOAD_RAM, %edi
	movl $(PAYLOAD_SIZE / 4), %ecx
	rep movsl
	lidtl idtr32

	/* Results: CPUID's EAX and EBX, the instruction's EIP, then what vc32 stores from +0x10 on. */
	movl $START_RESULTS, %edi
	movl $cpuid32, 8(%edi)
	movl $0x8000001F, %eax
	xorl %ecx, %ecx
cpuid32:
	cpuid
	movl %eax, START_RESULTS
	movl %ebx, START_RESULTS + 4

	cmpl $10, PARAMETERS + 8 /* END_PRIVATE_MMIO */
	jne 1f
	movl 0xFED000F0, %eax
1:	movl %cr4, %eax
	orl $0x220, %eax	/* PAE, OSFXSR */
	movl %eax, %cr4
	movl $PAGE_TABLES, %eax
	movl %eax, %cr3
	movl $MSR_EFER, %ecx
	rdmsr
	orl $0x100, %eax	/* LME */
	wrmsr
	movl %cr0, %eax
	orl $0x80010000, %eax	/* PG, WP */
	movl %eax, %cr0
	ljmpl $SELECTOR_CODE, $CODE

/* #VC of CPUID: counts, stores error code, EIP, CS, EFLAGS and ESP at the handler's start, asks by MSR protocol 004. */
vc32:
	incl START_RESULTS + 0x10
	movl %ecx, START_RESULTS + 0x40
	popl %ecx
	movl %ecx, START_RESULTS + 0x14
	movl (%esp), %ecx
	movl %ecx, START_RESULTS + 0x18
	movl 4(%esp), %ecx
	movl %ecx, START_RESULTS + 0x1C
	movl 8(%esp), %ecx
	movl %ecx, START_RESULTS + 0x20
	movl %esp, START_RESULTS + 0x24
	movl %eax, %esi
	movl $1, %edi
1:	movl %edi, %eax		/* EBX, then EAX */
	shll $30, %eax
	orl $0x004, %eax
	movl %esi, %edx
	movl $GHCB_MSR, %ecx
	wrmsr
	rep; vmmcall
	movl $GHCB_MSR, %ecx
	rdmsr
	testl %edi, %edi
	jz 2f
	movl %edx, %ebx
	decl %edi
	jmp 1b
2:	movl %edx, %eax
	addl $2, (%esp)
	iretl

	.balign 8
gdt:
	.quad 0
	.quad 0x00AF9B000000FFFF
	.quad 0x00CF93000000FFFF
	.quad 0x00CF9B000000FFFF
gdtr:
	.word 31
	.long gdt
idt32:
	.fill 29, 8, 0
	.word vc32 - start_page + 0xF000, SELECTOR_CODE32, 0x8E00, 0xFFFF
idtr32:
	.word 30 * 8 - 1
	.long idt32

	.org 0xFF0
	.code16
	jmp start16
	.org 0x1000
