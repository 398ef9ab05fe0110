/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The configuration block of the emulated SNP host: one 4 KiB page of the ROM
 * image, directly below the host's code, written by harness/snp_harness/platforms/emulated.py.
 *
 * The ROM, from low to high addresses, ends at 4 GiB and is a multiple of 64 KiB:
 *   [padding] [tested firmware] [SVSM image] [this block] [host image with the reset page last]
 * All numbers are little endian.
 */
#ifndef SNP_CONFIG_H
#define SNP_CONFIG_H

#include "types.h"

#define CONFIG_MAGIC    0x3147464354534F48ull /* "HOSTCFG1" */
#define CONFIG_VERSION  2
#define CONFIG_SECTIONS 32
#define CONFIG_VMPLS    4

/* Which exits of the guest become #VC (bits of vc_exits). CPUID, the x2APIC MSRs, APIC_BASE and the APIC page always do. */
#define CONFIG_VC_IOIO     0x001
#define CONFIG_VC_MMIO     0x002 /* every device, not only the APIC page; without SEV-ES it exits as well */
#define CONFIG_VC_MSR      0x004 /* every MSR that KVM intercepts for an SEV-ES guest */
#define CONFIG_VC_RDTSC    0x008
#define CONFIG_VC_RDTSCP   0x010
#define CONFIG_VC_DR7      0x020
#define CONFIG_VC_WBINVD   0x040
#define CONFIG_VC_MONITOR  0x080 /* MONITOR and MWAIT */
#define CONFIG_VC_RDPMC    0x100

enum config_apic {
	CONFIG_APIC_VIRTUAL = 0, /* the host's virtual APIC, with KVM's rules */
	CONFIG_APIC_QEMU = 1,    /* QEMU's own APIC answers: QEMU's trace events become a second witness */
};

/*
 * When a vCPU's hypervisor APIC is in x2APIC mode. KVM: after the guest has written APIC_BASE. The other two were
 * proposed for Alternate Injection and rejected: no write of APIC_BASE causes that mode (APM vol. 2, 16.9).
 */
enum config_policy {
	CONFIG_POLICY_KVM = 0,
	CONFIG_POLICY_X2APIC_ON_ALTERNATE_INJECTION = 1, /* from the first VMSA with Alternate Injection on */
	CONFIG_POLICY_X2APIC_AT_RESET = 2,
};

/* Deliberate faults of the hypervisor (bits of faults); `fault_every`: how often they occur. */
#define CONFIG_FAULT_LOST_INTERRUPT    0x1 /* an interrupt for the guest under Alternate Injection is dropped */
#define CONFIG_FAULT_DELAYED_INTERRUPT 0x2 /* it is posted `fault_delay_us` later */
#define CONFIG_FAULT_DOORBELL_STORM    0x4 /* VMPL0 gets a #HV without an event at each switch to it, NoFurtherSignal or not */
#define CONFIG_FAULT_NAE               0x8 /* MSR NAE events for 800-8FF: a read returns the wrong value, a write is dropped; specific EOI refused */
#define CONFIG_FAULTS                  4

/* Features of the virtual APIC that CPUID leaf 1 does not offer (bits of hidden_features). */
#define CONFIG_HIDE_X2APIC       0x1
#define CONFIG_HIDE_TSC_DEADLINE 0x2

/* Section types of the SEV metadata (edk2 OvmfPkg/ResetVector/X64/OvmfSevMetadata.asm). */
enum config_section_type {
	CONFIG_SECTION_SEC_MEM = 1,
	CONFIG_SECTION_SECRETS = 2,
	CONFIG_SECTION_CPUID = 3,
	CONFIG_SECTION_SVSM_CAA = 4,
	CONFIG_SECTION_KERNEL_HASHES = 0x10,
};

struct config_section {
	u32 gpa;
	u32 size; /* bytes */
	u32 type;
	u32 reserved;
};

struct host_config {
	u64 magic;       /* CONFIG_MAGIC */
	u32 version;     /* CONFIG_VERSION */
	u32 size;        /* sizeof(struct host_config) */
	u64 host_base;   /* physical address of the host's hidden RAM, 1 GiB aligned */
	u64 host_size;   /* bytes, 2 MiB multiple */
	u64 ring_base;   /* physical address of the log ring */
	u64 ring_size;   /* bytes: 4096 + capacity * 64 */
	u64 fw_rom;      /* physical address of the tested firmware in the ROM */
	u64 fw_size;     /* bytes, 4 KiB multiple; the guest sees it end at 4 GiB */
	u64 svsm_rom;    /* physical address of the SVSM image in the ROM */
	u64 svsm_size;   /* bytes; 0: no SVSM, the guest runs at VMPL0 */
	u64 svsm_gpa;    /* where the guest sees the SVSM's memory */
	u64 svsm_memory; /* bytes of it */
	u64 ram_low;     /* guest RAM from 0, bytes */
	u64 ram_high;    /* guest RAM from 4 GiB, bytes */
	u64 sev_status[CONFIG_VMPLS]; /* MSR C0010131 as each VMPL reads it; all 0: SEV off */
	u64 hv_features; /* GHCB hypervisor feature bits */
	u64 vc_exits;    /* CONFIG_VC_* */
	u64 svsm_flags;  /* SVSM_BOOT_*, for the SVSM */
	u64 log_key;     /* of the digest of all records (record.h) */
	u64 psp_seed;    /* of the keys that the security processor makes for the guest */
	u64 vmsa_features; /* SEV_FEATURES of the guest's VMSAs: AP creation refuses others */
	u32 cbit;        /* C-bit position: 51 (host with LA57) or 47 */
	u32 phys_bits;   /* guest physical address bits in CPUID 80000008 */
	u32 vcpus;
	u32 guest_vmpl;  /* VMPL of the tested firmware: 2 with an SVSM, 0 without */
	u32 log_level;   /* 0: APIC, modules, violations, end; 1: and GHCB, SVSM, RMP events; 2: and every #VC, IO, MMIO */
	u32 apic;        /* enum config_apic */
	u32 doorbell_port; /* isa-debugcon: one byte wakes the harness */
	u32 svsm_console_port; /* UART of the SVSM's console, hidden from the guest */
	u32 strict;      /* 1: RMP violations are delivered as on hardware; 0: they are recorded, and the access is completed */
	u32 policy;      /* enum config_policy */
	u32 faults;      /* CONFIG_FAULT_* */
	u32 fault_every; /* 1: each occasion; n: each n-th */
	u32 fault_delay_us;
	u32 svsm_faults; /* SVSM_FAULT_*, for the SVSM, with fault_every */
	u32 svsm_fault_register; /* MSR number for SVSM_FAULT_REGISTER */
	u32 svsm_fault_result;   /* for SVSM_FAULT_RESULT */
	u32 hidden_features; /* CONFIG_HIDE_* */
	u32 debug_exit_port; /* of the user's isa-debug-exit: a write ends the run */
	u32 debug_exit_size; /* ports; 0: there is none */
	u32 hash_table_gpa;  /* of the kernel's hashes, in the firmware's memory; */
	u32 hash_table_size; /* 0: the firmware has none */
	u32 sections;    /* used entries of section[] */
	struct config_section section[CONFIG_SECTIONS];
	u32 check;       /* always CONFIG_VERSION: detects a wrong layout */
};

_Static_assert(sizeof(struct host_config) <= 4096, "the block is one page");

#endif
