/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The instructions of every access. The same block of instructions is in SEC, in PEI and in DXE, so that each module
 * makes accesses of its own; tests/hostile/image.py puts a PE header in place of each marked page.
 * An operation is called with its address in RDI, its MSR in ECX and its value in RAX and RDX.
 */
#include "operation.h"

	.section .note.GNU-stack, "", @progbits

	.macro OPERATION name, instruction, size, does, path
operation\@:
	\instruction
	.set length, . - operation\@
	ret
	.if in_table
	.pushsection .rodata.operations, "a"
	.globl op_\name
op_\name:
	.word operation\@ - block_sec
	.byte length, \size, \does, \path
	.popsection
	.endif
	.endm

	.macro BLOCK module
	.balign 64
	.globl block_\module
block_\module:
	OPERATION load1, "movb (%rdi), %al", 1, DOES_READ | DOES_EXACT, PATH_MMIO
	OPERATION load2, "movw (%rdi), %ax", 2, DOES_READ | DOES_EXACT, PATH_MMIO
	OPERATION load4, "movl (%rdi), %eax", 4, DOES_READ | DOES_EXACT, PATH_MMIO
	OPERATION load8, "movq (%rdi), %rax", 8, DOES_READ | DOES_EXACT, PATH_MMIO
	OPERATION loadz1, "movzbl (%rdi), %eax", 1, DOES_READ | DOES_EXACT, PATH_MMIO
	OPERATION loadz2, "movzwl (%rdi), %eax", 2, DOES_READ | DOES_EXACT, PATH_MMIO
	OPERATION test4, "testl %eax, (%rdi)", 4, DOES_READ, PATH_MMIO
	OPERATION compare4, "cmpl %eax, (%rdi)", 4, DOES_READ, PATH_MMIO
	OPERATION or4, "orl (%rdi), %eax", 4, DOES_READ, PATH_MMIO
	OPERATION store1, "movb %al, (%rdi)", 1, DOES_WRITE | DOES_EXACT, PATH_MMIO
	OPERATION store2, "movw %ax, (%rdi)", 2, DOES_WRITE | DOES_EXACT, PATH_MMIO
	OPERATION store4, "movl %eax, (%rdi)", 4, DOES_WRITE | DOES_EXACT, PATH_MMIO
	OPERATION store8, "movq %rax, (%rdi)", 8, DOES_WRITE | DOES_EXACT, PATH_MMIO
	OPERATION and4, "andl %eax, (%rdi)", 4, DOES_READ | DOES_WRITE, PATH_MMIO
	OPERATION add2, "addw %ax, (%rdi)", 2, DOES_READ | DOES_WRITE, PATH_MMIO
	OPERATION exchange4, "xchgl %eax, (%rdi)", 4, DOES_READ | DOES_WRITE, PATH_MMIO
	OPERATION stray4, "movl (%rdi), %eax", 4, 0, PATH_MMIO
	OPERATION rdmsr, "rdmsr", 8, DOES_READ | DOES_EXACT, PATH_MSR
	OPERATION wrmsr, "wrmsr", 8, DOES_WRITE | DOES_EXACT, PATH_MSR
	OPERATION vmgexit, "rep; vmmcall", 0, 0, PATH_NONE
	.globl block_end_\module
block_end_\module:
	.endm

	.macro MODULE number, name
	.section .module.\number, "ax"
	.balign 0x1000
	.ascii "MODULE \name\()\0"
	.balign 0x1000
	BLOCK \name
	.balign 0x1000
	.globl module_end_\name
module_end_\name:
	.endm

	.set in_table, 1
	.section .text.block, "ax"
	BLOCK sec
	.set in_table, 0
	MODULE 1, pei
	MODULE 2, dxe
