/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The certificate table for extended guest requests (publication 56421, 4.1.8.1), which QEMU gets from its user on a real
 * host. The certificates are a test's: see hardware/psp_keys.h.
 */
	.section .note.GNU-stack, "", @progbits
	.section .rodata.certificates, "a"
	.globl certificates, certificates_end

/* An entry: the GUID, the offset in the table, the size. */
	.macro entry name, guid:vararg
	.byte \guid
	.long \name - certificates, \name\()_end - \name
	.endm

	.macro contents name, file
\name:
	.incbin "\file"
\name\()_end:
	.endm

	.balign 8
certificates:
	entry vcek, 0x63, 0xDA, 0x75, 0x8D, 0xE6, 0x64, 0x45, 0x64, 0xAD, 0xC5, 0xF4, 0xB9, 0x3B, 0xE8, 0xAC, 0xCD
	entry ask, 0x4A, 0xB7, 0xB3, 0x79, 0xBB, 0xAC, 0x4F, 0xE4, 0xA0, 0x2F, 0x05, 0xAE, 0xF3, 0x27, 0xC7, 0x82
	entry ark, 0xC0, 0xB4, 0x06, 0xA4, 0xA8, 0x03, 0x49, 0x52, 0x97, 0x43, 0x3F, 0xB6, 0x01, 0x4C, 0xD0, 0xAE
	.skip 24
	contents vcek, vcek.der
	contents ask, ask.der
	contents ark, ark.der
certificates_end:
