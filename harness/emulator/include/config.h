/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The configuration block of the emulated SNP host: one 4 KiB page of the ROM
 * image, directly below the host's code, written by harness/snp_harness/platforms/emulated.py.
 *
 * The ROM, from low to high addresses, ends at 4 GiB and is a multiple of 64 KiB:
 *   [padding] [this block] [host image with the reset page last]
 * What the guest is launched from is in a DIMM: see launch.h.
 * All numbers are little endian.
 */
#ifndef SNP_CONFIG_H
#define SNP_CONFIG_H

#include "types.h"

#define CONFIG_MAGIC    0x3147464354534F48ull /* "HOSTCFG1" */
#define CONFIG_VERSION  6
#define CONFIG_VMPLS    4

/* Which exits of the guest become #VC (bits of vc_exits). The x2APIC MSRs, APIC_BASE and the APIC page always do. */
#define CONFIG_VC_IOIO     0x001
#define CONFIG_VC_MMIO     0x002 /* every device, not only the APIC page; without SEV-ES it exits as well */
#define CONFIG_VC_MSR      0x004 /* every MSR that KVM intercepts for an SEV-ES guest */
#define CONFIG_VC_RDTSC    0x008
#define CONFIG_VC_RDTSCP   0x010
#define CONFIG_VC_DR7      0x020
#define CONFIG_VC_WBINVD   0x040
#define CONFIG_VC_MONITOR  0x080 /* MONITOR and MWAIT */
#define CONFIG_VC_RDPMC    0x100
#define CONFIG_VC_CPUID    0x200

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

/* Deliberate faults of the hypervisor (bits of faults); `fault_after`, `fault_every`: when they occur, counted on each vCPU. */
#define CONFIG_FAULT_LOST_INTERRUPT    0x1 /* an interrupt for the guest under Alternate Injection is dropped */
#define CONFIG_FAULT_DELAYED_INTERRUPT 0x2 /* it is posted `fault_delay_us` later */
#define CONFIG_FAULT_DOORBELL_STORM    0x4 /* VMPL0 gets a #HV without an event at each switch to it, NoFurtherSignal or not */
#define CONFIG_FAULT_NAE               0x8 /* MSR NAE events for 800-8FF: a read returns the wrong value, a write is dropped; specific EOI refused */
#define CONFIG_FAULT_BASE_WRITE        0x10 /* a write of APIC_BASE by its NAE event is answered, and not made */
#define CONFIG_FAULT_BASE_READ         0x20 /* a read of it is answered with `fault_apic_base` */
#define CONFIG_FAULT_SVSM              0x40 /* a call of the SVSM is answered, and the SVSM has not run */
#define CONFIG_FAULT_REFUSAL           0x80 /* the NAE event of `fault_register` is not carried out; its answer: `fault_info1`, `fault_info2` */
#define CONFIG_FAULT_CPUID_ID          0x100 /* CPUID has the APIC ID `fault_apic_id` on all vCPUs but the first; always */
#define CONFIG_FAULT_ID_LIST           0x200 /* the NAE event's list of APIC IDs has it for them; always */
#define CONFIG_FAULTS                  10

/* Features of the virtual APIC that CPUID leaf 1 does not offer (bits of hidden_features). */
#define CONFIG_HIDE_X2APIC       0x1
#define CONFIG_HIDE_TSC_DEADLINE 0x2

struct host_config {
	u64 magic;       /* CONFIG_MAGIC */
	u32 version;     /* CONFIG_VERSION */
	u32 size;        /* sizeof(struct host_config) */
	u64 host_base;   /* physical address of the host's hidden RAM, 1 GiB aligned */
	u64 host_size;   /* bytes, 2 MiB multiple */
	u64 ring_base;   /* physical address of the log ring */
	u64 ring_size;   /* bytes: 4096 + capacity * 64 */
	u64 rom_base;    /* physical address of the ROM */
	u64 launch_base; /* physical address of struct launch_list */
	u64 launch_size; /* bytes of it, 2 MiB multiple */
	u64 fw_size;     /* bytes of firmware that the guest sees end at 4 GiB, 4 KiB multiple; 0: none */
	u64 ram_low;     /* guest RAM from 0, bytes */
	u64 ram_high;    /* guest RAM from 4 GiB, bytes */
	u64 sev_status[CONFIG_VMPLS]; /* MSR C0010131 as each VMPL reads it; all 0: SEV off */
	u64 hv_features; /* GHCB hypervisor feature bits */
	u64 vc_exits;    /* CONFIG_VC_* */
	u64 log_key;     /* of the digest of all records (record.h) */
	u64 psp_seed;    /* of the keys that the security processor makes for the guest */
	u64 started_s;   /* of the run: the time of day, in seconds since 1970 */
	u64 fault_apic_base;
	u64 fault_apic_id;
	u64 fault_vcpu;  /* the only one with faults of the hypervisor, or UINT64_MAX */
	u64 fault_info1; /* SW_EXITINFO1 and */
	u64 fault_info2; /* SW_EXITINFO2 of an answer */
	u64 vmsa_features; /* SEV_FEATURES of the guest's VMSAs: AP creation refuses others */
	u32 cbit;        /* C-bit position: 51 (host with LA57) or 47 */
	u32 phys_bits;   /* guest physical address bits in CPUID 80000008 */
	u32 vcpus;
	u32 guest_vmpl;  /* VMPL of the tested firmware under an SVSM, 0 without one */
	u32 log_level;   /* 0: APIC, modules, violations, end; 1: and GHCB, SVSM, RMP events; 2: and every #VC, IO, MMIO; 3: and every #VMEXIT */
	u32 apic;        /* enum config_apic */
	u32 doorbell_port; /* isa-debugcon: one byte wakes the harness */
	u32 svsm_console_port; /* UART of the SVSM's console, hidden from the guest */
	u32 strict;      /* 1: RMP violations are delivered as on hardware; 0: they are recorded, and the access is completed */
	u32 policy;      /* enum config_policy */
	u32 faults;      /* CONFIG_FAULT_* */
	u32 fault_every; /* 1: each occasion; n: each n-th, */
	u32 fault_after; /* of those behind so many without a fault */
	u32 fault_delay_us;
	u32 fault_register; /* MSR number */
	u32 hidden_features; /* CONFIG_HIDE_* */
	u32 debug_exit_port; /* of the user's isa-debug-exit: a write ends the run */
	u32 debug_exit_size; /* ports; 0: there is none */
	u32 shortcuts; /* 1: no #VMEXIT where nothing depends on it but time: hardware/cpu.h */
	u32 rmp_batches; /* 1: VMPL0 is the reference SVSM, which has SEV_OPCODE_RMP_BATCH */
	u32 log_console; /* 1: RECORD_CONSOLE is written: the run may end with what its console shows */
	u32 check;       /* always CONFIG_VERSION: detects a wrong layout */
};

_Static_assert(sizeof(struct host_config) <= 4096, "the block is one page");

#endif
