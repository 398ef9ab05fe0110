/* SPDX-License-Identifier: GPL-2.0-or-later */
/* VMRUN. */
	.section .note.GNU-stack, "", @progbits
	.section .text.vm_enter, "ax"
/*
 * void vm_enter(u64 *gpr, u64 vmcb_pa): VMRUN with the guest's general registers.
 * gpr[] is in encoding order; RAX (0) and RSP (4) are in the VMCB.
 */
	.globl vm_enter
vm_enter:
	pushq %rbx
	pushq %rbp
	pushq %r12
	pushq %r13
	pushq %r14
	pushq %r15
	pushq %rdi
	movq %rsi, %rax
	movq 1*8(%rdi), %rcx
	movq 2*8(%rdi), %rdx
	movq 3*8(%rdi), %rbx
	movq 5*8(%rdi), %rbp
	movq 6*8(%rdi), %rsi
	.irp n, 8, 9, 10, 11, 12, 13, 14, 15
	movq \n*8(%rdi), %r\n
	.endr
	movq 7*8(%rdi), %rdi
	vmrun %rax
	.globl vm_enter_left
vm_enter_left:
	xchgq %rdi, (%rsp)
	movq %rcx, 1*8(%rdi)
	movq %rdx, 2*8(%rdi)
	movq %rbx, 3*8(%rdi)
	movq %rbp, 5*8(%rdi)
	movq %rsi, 6*8(%rdi)
	.irp n, 8, 9, 10, 11, 12, 13, 14, 15
	movq %r\n, \n*8(%rdi)
	.endr
	popq %rax
	movq %rax, 7*8(%rdi)
	.globl vm_enter_saved
vm_enter_saved:
	popq %r15
	popq %r14
	popq %r13
	popq %r12
	popq %rbp
	popq %rbx
	ret
