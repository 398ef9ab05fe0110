/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How the emulated SNP host starts the SVSM at VMPL0 (as an IGVM file does on a real host).
 *
 * The image is loaded at `base`; its first page starts with struct svsm_image. The host enters it
 * in 64-bit mode, interrupts off, no IDT, flat segments (CS 08, SS/DS/ES 10; no GDT is loaded),
 * RDI = GPA of struct svsm_boot, RSP = base + memory_size - 0x4000, and page tables
 * (in the last 16 KiB of its memory) with two views of GPA 0-512 GiB in 1 GiB pages:
 *   VA = GPA                       private, C-bit set
 *   VA = GPA + SVSM_SHARED_OFFSET  shared, C-bit clear
 * All of its memory is validated at launch. Pages of firmware and metadata are validated, with no
 * permissions for VMPL1-3: the SVSM grants them with RMPADJUST.
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

/* svsm_boot.faults: deliberate faults of the SVSM's APIC protocol; `fault_every`: how often they occur. */
#define SVSM_FAULT_BUSY       0x1 /* SVSM_ERR_BUSY */
#define SVSM_FAULT_INCOMPLETE 0x2 /* SVSM_ERR_INCOMPLETE */
#define SVSM_FAULT_RESULT     0x4 /* errors have the code `fault_result` instead of their own */
#define SVSM_FAULT_REGISTER   0x8 /* `fault_register` is refused as an unknown register */

struct svsm_image {
	u64 magic; /* SVSM_IMAGE_MAGIC */
	u64 entry; /* offset of the entry point in the image */
	u64 size;  /* bytes of the image with its .bss (which is zero at entry) */
};

struct svsm_region {
	u64 gpa;
	u64 size;
};

struct svsm_boot {
	u64 base;            /* GPA of the SVSM's memory */
	u64 memory_size;     /* bytes, with page tables and stack */
	u64 guest_features;  /* SEV_FEATURES for the guest's VMSA */
	u64 caa_gpa;         /* the guest's first CAA page */
	u64 secrets_gpa;     /* the guest's secrets page, which the security processor has filled, or 0 */
	u64 ram_low;         /* guest RAM from 0, bytes */
	u64 ram_high;        /* guest RAM from 4 GiB, bytes */
	u32 cbit;
	u32 guest_vmpl;      /* 1-3 */
	u32 console_port;    /* 16550 UART, by the IOIO NAE event */
	u32 cpuid_signature; /* RDX at reset: CPUID 1 EAX */
	u32 vcpus;
	u32 regions;         /* used entries of region[] */
	struct svsm_region region[SVSM_BOOT_REGIONS]; /* validated at launch: the firmware's image and metadata pages */
	u64 flags;           /* SVSM_BOOT_* */
	u32 faults;          /* SVSM_FAULT_* */
	u32 fault_every;     /* 1: each occasion; n: each n-th */
	u32 fault_register;  /* MSR number */
	u32 fault_result;    /* enum svsm_result */
};

_Static_assert(sizeof(struct svsm_boot) <= 4096, "the boot block is one page");

#endif
