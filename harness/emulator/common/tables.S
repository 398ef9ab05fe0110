/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Page tables and stack of the emulator. */
#include "layout.h"

	.section .note.GNU-stack, "", @progbits
	.section .bss.page, "aw", @nobits
	.balign 4096
	.globl host_pml5, host_pml4, host_pdpt_low, host_pdpt_high, host_pdpt_devices
host_pml5:	.skip 4096
host_pml4:	.skip 4096
host_pdpt_low:	.skip 4096
host_pdpt_high:	.skip 4096
host_pdpt_devices: .skip 4096
	.balign STACK_SIZE
	.globl host_stacks
host_stacks:	.skip STACK_SIZE

	.section .bss.stacks, "aw", @nobits
	.balign STACK_SIZE
	.globl catch_stacks
catch_stacks:	.skip HOST_PROCESSORS * STACK_SIZE
