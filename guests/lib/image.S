/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Two firmware volumes without files. With them a guest's image looks like OVMF's to programs that require a UEFI
 * firmware (UEFI Platform Initialization 1.8, vol. 3, 3.2.1).
 */
#include "layout.h"

#define BLOCK 0x1000

	.section .note.GNU-stack, "", @progbits

/* A header. Its checksum makes the sum of its words 0. GUID: eight words. */
	.macro VOLUME_HEADER length, g0, g1, g2, g3, g4, g5, g6, g7
	.fill 16, 1, 0
	.short \g0, \g1, \g2, \g3, \g4, \g5, \g6, \g7
	.quad \length
	.ascii "_FVH"
	.long 0			/* attributes */
	.short 72		/* size of the header */
	.set sum, \g0 + \g1 + \g2 + \g3 + \g4 + \g5 + \g6 + \g7 + (\length & 0xFFFF) + (\length >> 16)
	.short -(sum + 0x465F + 0x4856 + 72 + 0x0200 + \length / BLOCK + BLOCK) & 0xFFFF
	.short 0		/* no extended header */
	.byte 0, 2		/* reserved, revision */
	.long \length / BLOCK, BLOCK
	.long 0, 0
	.endm

/* fff12b8d-7696-4c8b-a985-2747075b4f50: EFI_SYSTEM_NV_DATA_FV */
	.section .volume.variables, "a"
	VOLUME_HEADER VARIABLES_SIZE, 0x2B8D, 0xFFF1, 0x7696, 0x4C8B, 0x85A9, 0x4727, 0x5B07, 0x504F

/* 8c8ce578-8a3d-4f1c-9935-896185c32dd3: EFI_FIRMWARE_FILE_SYSTEM2 */
	.section .volume.main, "a"
	VOLUME_HEADER VOLUME_SIZE, 0xE578, 0x8C8C, 0x8A3D, 0x4F1C, 0x3599, 0x6189, 0xC385, 0xD32D
