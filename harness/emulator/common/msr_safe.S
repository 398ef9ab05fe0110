/* SPDX-License-Identifier: GPL-2.0-or-later */
/* RDMSR and WRMSR that report #GP. */
	.section .note.GNU-stack, "", @progbits
	.text
/* bool msr_read_safe(u32 msr, u64 *value) */
	.globl msr_read_safe, msr_read_safe_insn
msr_read_safe:
	movl %edi, %ecx
msr_read_safe_insn:
	rdmsr
	shlq $32, %rdx
	orq %rdx, %rax
	movq %rax, (%rsi)
	movl $1, %eax
	ret

/* bool msr_write_safe(u32 msr, u64 value) */
	.globl msr_write_safe, msr_write_safe_insn
msr_write_safe:
	movl %edi, %ecx
	movl %esi, %eax
	movq %rsi, %rdx
	shrq $32, %rdx
msr_write_safe_insn:
	wrmsr
	movl $1, %eax
	ret

/* Where an exception in one of the two continues. */
	.globl msr_safe_failed
msr_safe_failed:
	xorl %eax, %eax
	ret
