/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How the reference SVSM starts at VMPL0: from an IGVM file that harness/snp_harness/svsm/reference.py makes.
 *
 * The image is loaded at `base`; its first page starts with struct svsm_image. Its VMSA enters it in 64-bit mode,
 * interrupts off, no IDT, flat segments (CS 08, SS/DS/ES 10; no GDT is loaded), RDI = GPA of struct svsm_boot, which
 * is measured, and page tables in its memory with two views of GPA 0-512 GiB in 1 GiB pages:
 *   VA = GPA                       private, C-bit set
 *   VA = GPA + SVSM_SHARED_OFFSET  shared, C-bit clear
 * Pages of firmware and metadata are validated, with no permissions for VMPL1-3: the SVSM grants them with RMPADJUST.
 */
#ifndef SNP_SVSM_BOOT_H
#define SNP_SVSM_BOOT_H

#include "types.h"

#define SVSM_IMAGE_MAGIC   0x314D53565346ull /* "FSVSM1" */
#define SVSM_SHARED_OFFSET 0x8000000000ull   /* 512 GiB: PML4 entry 1 */
#define SVSM_BOOT_REGIONS  40

/* svsm_boot.flags */
#define SVSM_BOOT_SCRUB         0x1ull /* clear every page that the guest validates, as COCONUT does; this needs host memory and time */
#define SVSM_BOOT_APIC_PROTOCOL 0x2ull /* offer the APIC protocol, if the guest has Alternate Injection */
#define SVSM_BOOT_TIMER         0x4ull /* serve the guest's APIC timer as well (svsm.h, SVSM_APIC_FEATURE_TIMER) */
#define SVSM_BOOT_FEATURE_BIT_7 0x8ull /* as older COCONUT: Alternate Injection is hypervisor feature bit 7, not 9 */
#define SVSM_BOOT_SELF_TEST     0x10ull /* run the SVSM's own tests, and no guest */

/* svsm_boot.faults: deliberate faults of the SVSM; `fault_after`, `fault_every`: when they occur. The first four are of the APIC protocol. */
#define SVSM_FAULT_BUSY       0x1 /* SVSM_ERR_BUSY */
#define SVSM_FAULT_INCOMPLETE 0x2 /* SVSM_ERR_INCOMPLETE */
#define SVSM_FAULT_RESULT     0x4 /* errors have the code `fault_result` instead of their own */
#define SVSM_FAULT_REGISTER   0x8 /* `fault_register` is refused as an unknown register */
#define SVSM_FAULT_CALL       0x10 /* `fault_call` is answered with `fault_result`, and not served */
#define SVSM_FAULT_PENDING    0x20 /* `fault_call` is served, and its calling area says that it is pending */
#define SVSM_FAULT_PROTOCOL   0x40 /* the APIC protocol is not there: queries and calls alike */
#define SVSM_FAULT_CAA        0x80 /* the guest's secrets page names `fault_caa` as its calling area; from the start */
#define SVSM_FAULTS           8

struct svsm_image {
	u64 magic; /* SVSM_IMAGE_MAGIC */
	u64 entry; /* offset of the entry point in the image */
	u64 size;  /* bytes of the image with its .bss (which is zero at entry) */
};

struct svsm_region {
	u64 gpa;
	u64 size;
};

/* Of the IGVM format: the number of vCPUs, and the environment's flags. */
struct svsm_parameters {
	u32 vcpus;
	u32 environment;
};

/* IGVM_VHS_MEMORY_MAP_ENTRY; the map ends with an entry without pages. */
struct svsm_map_entry {
	u64 first; /* page */
	u64 pages;
	u16 type;
	u16 flags;
	u32 reserved;
};
#define SVSM_MAP_ENTRIES ((u32)(PAGE_SIZE / sizeof(struct svsm_map_entry)))
#define SVSM_MAP_MEMORY  0

struct svsm_boot {
	u64 base;            /* GPA of the SVSM's memory */
	u64 memory_size;     /* bytes, with page tables */
	u64 secrets_gpa;     /* of its own secrets page; */
	u64 cpuid_gpa;       /* its CPUID page; */
	u64 parameters_gpa;  /* struct svsm_parameters; */
	u64 memory_map_gpa;  /* and a page of struct svsm_map_entry: both by the loader, not measured */
	u64 guest_features;  /* SEV_FEATURES for the guest's VMSA */
	u64 caa_gpa;         /* the guest's first CAA page */
	u64 guest_secrets_gpa; /* where the guest expects its secrets page, or 0 */
	u64 guest_cpuid_gpa; /* and its CPUID page, or 0 */
	u32 cbit;
	u32 guest_vmpl;      /* 1-3 */
	u32 console_port;    /* 16550 UART, by the IOIO NAE event */
	u32 regions;         /* used entries of region[] */
	struct svsm_region region[SVSM_BOOT_REGIONS]; /* validated at launch: the firmware's image and metadata pages */
	u64 flags;           /* SVSM_BOOT_* */
	u32 faults;          /* SVSM_FAULT_* */
	u32 fault_every;     /* 1: each occasion; n: each n-th, */
	u32 fault_after;     /* of those behind so many without a fault */
	u32 fault_register;  /* MSR number */
	u64 fault_result;    /* RAX */
	u64 fault_call;      /* SVSM_CALL() */
	u64 fault_caa;
};

_Static_assert(sizeof(struct svsm_map_entry) == 24, "igvm_defs");
_Static_assert(sizeof(struct svsm_boot) <= 4096, "the boot block is one page");

#endif
