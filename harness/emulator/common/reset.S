/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From the reset vector to 64-bit code in the host's RAM.
 *
 * The last page of the ROM is the reset page; it also appears at FF000, so a SIPI with vector FF
 * starts application processors at its first byte. The first page tables are constants in the ROM
 * (accessed and dirty bits set: the CPU never writes them), so guest RAM stays untouched.
 */
#include "layout.h"

	.section .note.GNU-stack, "", @progbits
	.section .reset, "ax"
	.code16
reset_page:
ap_start16:
	cli
	movl $1, %ebx
	lgdtl %cs:(reset_gdtr - reset_page)
	jmp 1f
bsp_start16:
	cli
	movl $0x1B, %ecx	/* APIC_BASE: bit 8 is set on the first processor */
	rdmsr
	testb $1, %ah
	jz stop16		/* another one: an SMI has ended its wait for SIPI */
	xorl %ebx, %ebx
	lgdtl %cs:(reset_gdtr - reset_page + 0xF000)
1:	movl %cr0, %eax
	andl $0x1FFFFFFF, %eax	/* CD, NW and PG off */
	orl $1, %eax		/* PE */
	movl %eax, %cr0
	ljmpl $0x08, $start32

stop16:	hlt
	jmp stop16

	.code32
start32:
	movw $0x10, %ax
	movw %ax, %ds
	movw %ax, %es
	movw %ax, %ss
	movl %cr4, %eax
	orl $0x20, %eax		/* PAE */
	movl $rom_pml4, %ecx
	cmpl $51, CONFIG_ROM + CONFIG_OFFSET_CBIT
	jne 1f
	orl $0x1000, %eax	/* LA57: the nested page tables get five levels, so C-bit 51 is checked */
	movl $rom_pml5, %ecx
1:	movl %eax, %cr4
	movl %ecx, %cr3
	movl $0xC0000080, %ecx	/* EFER: LME, NXE */
	rdmsr
	orl $0x900, %eax
	wrmsr
	movl %cr0, %eax
	orl $0x80000000, %eax
	movl %eax, %cr0
	ljmpl $0x18, $start64

	.code64
start64:
	movl $CONFIG_ROM, %esi
	movq CONFIG_OFFSET_HOST_BASE(%rsi), %rbp
	testl %ebx, %ebx
	jnz switch_tables

	/* Copy the host to its RAM and clear what is not in the image. */
	cld
	movl $HOST_ROM, %esi
	movq %rbp, %rdi
	movl $host_image_size, %ecx
	rep movsb
	movl $host_bss_size, %ecx
	xorl %eax, %eax
	rep stosb

	/* Identity map of 512 GiB; the host's RAM also at HOST_VIRTUAL. */
	leaq host_pdpt_low - HOST_VIRTUAL_LOW(%rbp), %rdi
	movq $0x83, %rax
	movl $512, %ecx
1:	movq %rax, (%rdi)
	addq $8, %rdi
	addq $0x40000000, %rax
	loop 1b
	leaq 0x83(%rbp), %rax	/* one 1 GiB page: the fewer levels, the faster QEMU's walk */
	movq %rax, host_pdpt_high - HOST_VIRTUAL_LOW + 510*8(%rbp)
	leaq host_pdpt_high - HOST_VIRTUAL_LOW + 3(%rbp), %rax
	movq %rax, host_pml4 - HOST_VIRTUAL_LOW + 511*8(%rbp)
	leaq host_pdpt_low - HOST_VIRTUAL_LOW + 3(%rbp), %rax
	movq %rax, host_pml4 - HOST_VIRTUAL_LOW(%rbp)
	movq %rax, host_pml4 - HOST_VIRTUAL_LOW + 8(%rbp) /* PHYSICAL_WINDOW */
	leaq host_pdpt_devices - HOST_VIRTUAL_LOW + 3(%rbp), %rax
	movq %rax, host_pml4 - HOST_VIRTUAL_LOW + 16(%rbp) /* DEVICE_WINDOW */
	leaq host_pml4 - HOST_VIRTUAL_LOW + 3(%rbp), %rax
	movq %rax, host_pml5 - HOST_VIRTUAL_LOW(%rbp)
	movq %rax, host_pml5 - HOST_VIRTUAL_LOW + 511*8(%rbp)

switch_tables:
	leaq host_pml4 - HOST_VIRTUAL_LOW(%rbp), %rax
	movl $CONFIG_ROM, %esi
	cmpl $51, CONFIG_OFFSET_CBIT(%rsi)
	jne 1f
	leaq host_pml5 - HOST_VIRTUAL_LOW(%rbp), %rax
1:	movq %rax, %cr3
	movq $host_entry, %rax
	jmp *%rax

	.balign 16
reset_gdt:
	.quad 0
	.quad 0x00CF9B000000FFFF	/* 08: 32-bit code */
	.quad 0x00CF93000000FFFF	/* 10: data */
	.quad 0x00AF9B000000FFFF	/* 18: 64-bit code */
reset_gdtr:
	.word 31
	.long reset_gdt

	.org 0xFF0
	.code16
	jmp bsp_start16			/* FFFFFFF0 */
	.org 0x1000

	/* Constant page tables: 512 GiB in 1 GiB pages. E7: present, writable, user, accessed, dirty, large. */
	.section .romtables, "a"
	.balign 4096
rom_pdpt:
	.set gib, 0
	.rept 512
	.quad (gib << 30) + 0xE7
	.set gib, gib + 1
	.endr
rom_pml4:
	.quad rom_pdpt + 0x67
	.fill 511, 8, 0
rom_pml5:
	.quad rom_pml4 + 0x67
	.fill 511, 8, 0
