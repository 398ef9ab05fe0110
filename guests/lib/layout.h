/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Addresses of a guest in its image and in memory. The metadata in start.S lists the same pages. */
#ifndef GUEST_LAYOUT_H
#define GUEST_LAYOUT_H

/* The image: 256 KiB that end at 4 GiB. */
#define IMAGE_SIZE     0x40000
#define IMAGE_BASE     0xFFFC0000
#define VARIABLES_SIZE 0x10000    /* an empty variable volume: a combined image like OVMF.fd */
#define VOLUME         0xFFFD0000 /* an empty volume; its free space holds the payload */
#define VOLUME_SIZE    0x30000
#define PAYLOAD_FLASH  0xFFFD1000 /* the parameter page, then code and data */
#define PAYLOAD_SIZE   0x2E000
#define START          0xFFFFF000 /* the page with the reset vector at its end */
#define METADATA       0xFFFFFC00 /* SEV metadata; the harness and a hypervisor find it by the GUIDed table */
#define TABLE_END      0xFFFFFFE0 /* the GUIDed table ends 20h bytes below the image's end (edk2 OvmfPkg/ResetVector) */

/* Memory. */
#define SEC_MEMORY     0x800000 /* validated at launch */
#define SEC_SIZE       0x80000
#define PAGE_TABLES    0x800000 /* PML4, PDPT, four PDs, one PT: start.S makes them with the C-bit that it finds */
#define TEST_TABLE     0x806000 /* that PT: 4 KiB pages of TEST_AREA */
#define PARAMETERS     0x807000 /* a guest's parameters: the first page of the payload */
#define PARAMETERS_USED 0xF00
#define START_RESULTS  0x807F00 /* struct start_results */
#define CODE           0x808000
#define STACK_TOP      0x87F000
#define IST_TOP        0x87B000
#define RSP0_TOP       0x877000
#define USER_STACK     0x873000
#define MEMORY_END     0x870000 /* code, data and .bss end below */
#define SECRETS_PAGE   0x880000
#define CPUID_PAGE     0x881000
#define CAA_PAGE       0x882000
#define TEST_AREA      0xA00000 /* 2 MiB of 4 KiB pages, not launched */
#define GHCB_PAGE      0xA00000
#define BUFFER_PAGE    0xA01000 /* shared, for scratch areas outside the GHCB */
#define LARGE_AREA     0xC00000 /* 2 MiB mapped with one large page, not launched */
#define AP_START       0x8000   /* where SIPI starts an AP: a page below 1 MiB */
#define AP_STACK_SIZE  0x1000
#define AP_AREA        0xA10000 /* four pages of TEST_AREA for each AP: see ap.h */
#define DEVICES        0xC0000000 /* from here to the flash: mapped shared */
#define FLASH          0xFFE00000

/* struct start_results */
#define RESULT_EAX     (START_RESULTS + 0x00)
#define RESULT_EBX     (START_RESULTS + 0x04)
#define RESULT_EIP     (START_RESULTS + 0x08)
#define RESULT_CBIT    (START_RESULTS + 0x0C)
#define RESULT_COUNT   (START_RESULTS + 0x10)
#define RESULT_ERROR   (START_RESULTS + 0x14)
#define RESULT_VC_EIP  (START_RESULTS + 0x18)
#define RESULT_CS      (START_RESULTS + 0x1C)
#define RESULT_EFLAGS  (START_RESULTS + 0x20)
#define RESULT_ESP     (START_RESULTS + 0x24)

#define SELECTOR_CODE      0x08
#define SELECTOR_DATA      0x10
#define SELECTOR_CODE32    0x18
#define SELECTOR_USER_DATA 0x23
#define SELECTOR_USER_CODE 0x2B
#define SELECTOR_TSS       0x30

#endif
