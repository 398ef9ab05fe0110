/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The test guest's addresses; build.py knows the same ones, checked by test_build.py. */
#ifndef GUEST_LAYOUT_H
#define GUEST_LAYOUT_H

#define PAYLOAD_FLASH 0xFFFD1000 /* in the image: free space of its second volume */
#define PAYLOAD_SIZE  0x28000
#define PAYLOAD_RAM   0x800000   /* where it is copied to and runs: SEC memory, validated at launch */
#define PAGE_TABLES   0x800000   /* PML4, PDPT, four PDs, one PT: made by build.py for each C-bit */
#define TEST_TABLE    0x806000   /* that PT: 4 KiB pages of TEST_AREA */
#define PARAMETERS    0x807000
#define START_RESULTS 0x807100   /* what the 32-bit code saw */
#define CODE          0x808000
#define STACK_TOP     0x87F000
#define IST_TOP       0x87B000
#define RSP0_TOP      0x877000
#define USER_STACK    0x873000
#define SECRETS_PAGE  0x880000
#define CPUID_PAGE    0x881000
#define CAA_PAGE      0x882000
#define TEST_AREA     0xA00000   /* 2 MiB, not launched */
#define GHCB_PAGE     0xA00000
#define BUFFER_PAGE   0xA01000   /* shared, for scratch areas outside the GHCB */
#define LARGE_AREA    0xC00000   /* 2 MiB mapped with one large page, not launched */

#define SELECTOR_CODE      0x08
#define SELECTOR_DATA      0x10
#define SELECTOR_CODE32    0x18
#define SELECTOR_USER_DATA 0x23
#define SELECTOR_USER_CODE 0x2B
#define SELECTOR_TSS       0x30

#endif
