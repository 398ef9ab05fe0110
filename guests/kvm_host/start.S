/* SPDX-License-Identifier: GPL-2.0-or-later */
	.section .note.GNU-stack, "", @progbits
	.text
	.globl _start
_start:
	xorl %ebp, %ebp
	andq $-16, %rsp
	call init_main
