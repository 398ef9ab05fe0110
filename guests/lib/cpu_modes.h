/* SPDX-License-Identifier: GPL-2.0-or-later */
/* For assembly: from real mode to protected mode, and on to 64-bit code with paging. */
#ifndef GUEST_CPU_MODES_H
#define GUEST_CPU_MODES_H

#include "layout.h"

#define MSR_EFER        0xC0000080
#define EFER_LME        0x100
#define CR0_PE          0x1
#define CR0_WP_PG       0x80010000
#define CR0_NO_NW_CD_PG 0x1FFFFFFF /* mask: caches on, paging off */
#define CR4_PAE_OSFXSR  0x220

/* Real mode: loads GDTR from `gdtr`, an offset from CS, and continues in 32-bit code at the linear address `target`. */
	.macro ENTER_PROTECTED_MODE gdtr, target
	cli
	lgdtl %cs:(\gdtr)
	movl %cr0, %eax
	andl $CR0_NO_NW_CD_PG, %eax
	orl $CR0_PE, %eax
	movl %eax, %cr0
	ljmpl $SELECTOR_CODE32, $(\target)
	.endm

	.macro LOAD_DATA_SEGMENTS
	movl $SELECTOR_DATA, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
	.endm

/* 32-bit code: turns on long mode and paging with the tables at PAGE_TABLES, and continues at `target`. */
	.macro ENTER_LONG_MODE target
	movl %cr4, %eax
	orl $CR4_PAE_OSFXSR, %eax
	movl %eax, %cr4
	movl $PAGE_TABLES, %eax
	movl %eax, %cr3
	movl $MSR_EFER, %ecx
	rdmsr
	orl $EFER_LME, %eax
	wrmsr
	movl %cr0, %eax
	orl $CR0_WP_PG, %eax
	movl %eax, %cr0
	ljmpl $SELECTOR_CODE, $(\target)
	.endm

/* The GDT for SELECTOR_CODE, SELECTOR_DATA, SELECTOR_CODE32. `address`: of `gdt` when GDTR is loaded. */
	.macro BOOT_GDT address
	.balign 8
gdt:
	.quad 0
	.quad 0x00AF9B000000FFFF
	.quad 0x00CF93000000FFFF
	.quad 0x00CF9B000000FFFF
gdtr:
	.word gdtr - gdt - 1
	.long \address
	.endm

#endif
