/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The interface of the emulated SNP hardware for the hypervisor above it. Both sides include only this header.
 *
 * The hypervisor runs a vCPU with hw_vmrun() and gets from an exit what the VMCB of an SEV-SNP guest shows: code, two
 * infos, the GHCB's address, the virtual interrupt control. It neither reads the guest's registers nor its private pages.
 * Memory is named by system physical address (SPA) here; guest-physical addresses (GPA) carry no C-bit.
 *
 * A guest without SEV has its registers in the VMCB: hw_plain_*.
 * Values for the log that no hypervisor sees on hardware: hw_observe_*.
 */
#ifndef SNP_HW_H
#define SNP_HW_H

#include "config.h"
#include "machine.h"
#include "psp.h"
#include "record.h"
#include "svm.h"
#include "types.h"

#define HW_CPUS  16 /* vCPUs at most */
#define HW_SLOTS 8  /* ranges of guest memory at most */
#define HW_ASID  1  /* of the one guest, in the RMP */

enum hw_gpr { HW_RAX, HW_RCX, HW_RDX, HW_RBX, HW_RSP, HW_RBP, HW_RSI, HW_RDI }; /* then R8-R15 */

struct snp_message; /* snp_message.h */
struct hw;     /* the processors, memory and RMP of one guest */
struct hw_cpu; /* one vCPU: the state of its VMPLs */

/* Setting up. */

/* The intercepts of the hypervisor, as words of the VMCB; the hardware adds those that it needs itself. */
struct hw_controls {
	u32 intercept_dr;
	u32 intercept_misc1;
	u32 intercept_misc2;
	u64 vintr;          /* VMCB 060h at the start */
	bool native_io;     /* port I/O does not become #VC: hw_io_value() */
	bool native_cpuid;  /* nor does CPUID: hw_cpuid_asked(), */
	bool native_msr;    /* nor an MSR below the x2APIC's, but for APIC_BASE and TSC_DEADLINE: hw_msr_asked() */
	u8 *io_permissions;  /* three pages */
	u8 *msr_permissions; /* two pages; the hardware's own MSRs are added */
};

struct hw_cpu *hw_first_cpu(struct machine *machine); /* before anything else: for records */
struct hw *hw_setup(struct machine *machine);
void *hw_take(struct hw *hw, u64 size, u64 alignment); /* RAM of the emulator, zeroed; its address is physical */
struct hw_cpu *hw_cpu_setup(struct hw *hw, u32 index, const struct hw_controls *controls);
void hw_cpu_start(struct hw_cpu *cpu); /* load its VMPL into the processor: the first one */

/* Nested paging: the hypervisor's table is flat, an entry a 4 KiB page of each range. */
enum hw_nested {
	HW_NOT_PRESENT = 0,
	HW_PRIVATE = 1, /* maps `spa`, which RMPUPDATE has assigned */
	HW_SHARED = 2,  /* maps `shared_spa` */
};
#define HW_UNMAPPED 0x80 /* flag: the entry is not present now, and will be again */

struct hw_slot {
	u64 gpa;
	u64 size;
	u64 spa;        /* of the private pages; the RMP covers it */
	u64 shared_spa; /* of the shared ones: another range for the firmware only */
	u8 *nested;     /* the table: enum hw_nested for each page, and HW_UNMAPPED. The hypervisor writes it */
};

static inline u8 *hw_slot_nested(const struct hw_slot *slot, u64 gpa) { return &slot->nested[(gpa - slot->gpa) / PAGE_SIZE]; }

static inline u64 hw_slot_spa(const struct hw_slot *slot, u64 gpa, bool shared)
{
	return (shared ? slot->shared_spa : slot->spa) + (gpa - slot->gpa);
}

/* The 2 MiB page around `gpa` is all in the range, and aligned. */
static inline bool hw_slot_large_possible(const struct hw_slot *slot, u64 gpa)
{
	u64 start = gpa & ~(PAGE_SIZE_2M - 1);

	return start >= slot->gpa && start + PAGE_SIZE_2M <= slot->gpa + slot->size &&
	       !(hw_slot_spa(slot, start, false) & (PAGE_SIZE_2M - 1));
}

void hw_slot_add(struct hw *hw, const struct hw_slot *slot);
/* As a TLB flush: the hypervisor has changed nested entries or the RMP of a page, 4 KiB or 2 MiB. */
void hw_invalidate(struct hw *hw, u64 gpa, bool large);
/* After the launch: devices reach the shared pages from now on, and nothing else. */
void hw_dma_start(struct hw *hw);

/* The RMP, by system physical address (APM vol. 3, RMPUPDATE, PSMASH, RMPREAD; vol. 2, 15.36.3). */
struct hw_rmp_entry {
	u64 gpa;
	u32 asid;
	bool assigned;
	bool large;
	bool vmsa; /* read only here */
};

enum hw_rmp_result {
	HW_RMP_OK = 0,
	HW_RMP_INPUT = 1,
	HW_RMP_OVERLAP = 4, /* of a 2 MiB page and a 4 KiB page that are both assigned */
};

enum hw_rmp_result hw_rmpupdate(struct hw *hw, u64 spa, const struct hw_rmp_entry *entry);
enum hw_rmp_result hw_psmash(struct hw *hw, u64 spa);
bool hw_rmpread(struct hw *hw, u64 spa, struct hw_rmp_entry *entry); /* false: the RMP does not cover the page */

/* The security processor (SNP firmware ABI, publication 56860). */
enum hw_psp_code {
	HW_PSP_LAUNCH_START,  /* `policy` */
	HW_PSP_LAUNCH_UPDATE, /* `page`, `gpa`, `size`: the pages, which are assigned, are measured and validated; secrets are filled */
	HW_PSP_LAUNCH_VMSA,   /* `cpu`, `vmsa`: the page on which it starts, at the VMPL that is in it */
	HW_PSP_LAUNCH_FINISH, /* `finish` */
	HW_PSP_GUEST_REQUEST, /* `request`, `response`: pages of the hypervisor */
};

struct hw_psp_command {
	enum hw_psp_code code;
	enum psp_page page;
	u64 gpa;
	u64 size;
	u64 policy;
	const struct psp_finish *finish;
	const struct snp_message *request;
	struct snp_message *response;
	struct hw_cpu *cpu;
	u8 *contents; /* of what is launched: where they stay as they are */
};

enum psp_status hw_psp(struct hw *hw, const struct hw_psp_command *command);

/* CPUID of the processor, with leaf 8000001F (APM vol. 3, E.4.17) and the instructions that TCG lacks, and the SEV MSRs. */
struct cpuid_result;
void hw_cpuid(const struct hw *hw, u32 leaf, u32 subleaf, struct cpuid_result *result);
u64 hw_msr(const struct hw_cpu *cpu, u32 msr); /* SEV_MSR_GHCB, SEV_MSR_STATUS of the VMPL that runs */
void hw_set_ghcb(struct hw_cpu *cpu, u64 value); /* the answer of the GHCB MSR protocol */

/*
 * EFER of the VMPL that runs, for a guest's request through the GHCB; false: #GP. On hardware the hypervisor knows it by
 * the EFER write trap (APM vol. 2, 15.35.7).
 */
bool hw_efer(struct hw_cpu *cpu, bool write, u64 *value);

/* CR4, as its write trap shows it (15.35.7). */
u64 hw_cr4(const struct hw_cpu *cpu);

/* Running. */
#define HW_EXIT_NONE (1ull << 32) /* the guest continues: the hardware has served the exit itself, with a #VC for example */

struct hw_exit {
	u64 code;  /* enum svm_exit, SVM_EXIT_INVALID or HW_EXIT_NONE */
	u64 info1; /* SVM_EXIT_CR8_WRITE: the value; SVM_EXIT_INVALID: EFER. SVM_EXIT_NPF: with SVM_NPF_RMP and so on */
	u64 info2; /* SVM_EXIT_NPF: the GPA; SVM_EXIT_INVALID: CR0 */
	u64 ghcb;  /* SVM_EXIT_VMGEXIT: MSR C0010130 */
	u64 vintr; /* VMCB 060h */
};

/* What changes with this VMRUN; 0: as it was. Not for a VMPL with Alternate Injection, which its VMSA controls. */
struct hw_request {
	u64 vintr;      /* VMCB 060h: V_TPR, and V_IRQ with its fields */
	bool cr8_writes; /* intercept them */
	u8 source;      /* of the vector in V_IRQ, for its record: enum record_irq_source */
};

void hw_vmrun(struct hw_cpu *cpu, const struct hw_request *request, struct hw_exit *exit);
/*
 * The hypervisor has resolved an #NPF: the access is repeated. On hardware the next VMRUN does it; here it costs no
 * #VMEXIT of its own. `exit` is the result, HW_EXIT_NONE if the guest continues.
 */
void hw_retry(struct hw_cpu *cpu, struct hw_exit *exit);

/* Answers to an #NPF at a GPA without memory. */
/* The nested entry has a reserved bit set: #VC, NAE event for MMIO (APM vol. 2, 15.35.5). */
void hw_nested_reserved(struct hw_cpu *cpu);
/* It maps a page of a device, or any other that the RMP does not cover. */
void hw_nested_device(struct hw_cpu *cpu, u64 gpa, u64 spa, bool writable);

/* EVENTINJ of the next VMRUN; only if it is empty. */
void hw_inject(struct hw_cpu *cpu, u64 event);
bool hw_event_pending(const struct hw_cpu *cpu);
/* VMCB 068h. */
bool hw_interrupts_enabled(const struct hw_cpu *cpu); /* RFLAGS.IF, which the VMCB shows of an SEV-ES guest too */
bool hw_in_shadow(const struct hw_cpu *cpu);
/* In the shadow of STI: back to the state before it, which an event may interrupt. False: it is another shadow, or none. */
bool hw_before_sti(struct hw_cpu *cpu);

/* VMCB 050h of each VMPL: the guest's TSC is that of the processor plus the offset. */
u64 hw_tsc_offset(const struct hw_cpu *cpu);
void hw_set_tsc_offset(struct hw_cpu *cpu, u64 offset);

/* VMPLs and their VMSAs. The VMPL that runs stays in the processor until another one of this or another vCPU replaces it. */

/* The VMSA for a VMPL: GPA and SPA, or NO_GPA, and the SEV_FEATURES it has to have. */
void hw_vmsa_register(struct hw_cpu *cpu, u32 vmpl, u64 gpa, u64 spa, u64 features);
void hw_vmsa_features(struct hw_cpu *cpu, u32 vmpl, u64 features); /* they change while it is registered */
/* VMRUN would run it: a VMSA page in the RMP, of that VMPL, with EFER.SVME and those features (APM vol. 2, 15.36.12). */
bool hw_vmsa_runnable(struct hw_cpu *cpu, u32 vmpl);
/* Run that VMPL from now on; false when its VMSA cannot be run. The one that ran stays as it is. */
bool hw_vmpl_run(struct hw_cpu *cpu, u32 vmpl);
/* Back to VMPL0: the VMSA of the one that ran gets its state and `code`. False when its VMSA is not in memory. */
bool hw_vmpl_return(struct hw_cpu *cpu, u64 code);
/* While the vCPU is not in the processor: drop the state of the VMPL that ran; select one, from its VMSA or as it was. */
void hw_vmpl_abandon(struct hw_cpu *cpu);
bool hw_vmpl_begin(struct hw_cpu *cpu, u32 vmpl);
void hw_vmpl_select(struct hw_cpu *cpu, u32 vmpl);
void hw_cpu_switch(struct hw_cpu *from, struct hw_cpu *to); /* another vCPU gets the processor */
/* What the VMSA injects or offers with Alternate Injection would be taken now. */
bool hw_alternate_can_take(const struct hw_cpu *cpu);

/*
 * SVM_EXIT_IOIO, without SEV or with `native_io`: the hypervisor carries out the access, and the guest continues after the
 * instruction. Of a guest with SEV the infos of the exit do not show string instructions: they become #VC.
 */
u32 hw_io_value(const struct hw_cpu *cpu); /* EAX */
void hw_io_done(struct hw_cpu *cpu, const struct hw_exit *exit, u32 value); /* of IN; ignored for OUT */

/* SVM_EXIT_CPUID, without SEV-ES or with `native_cpuid`: likewise. */
struct hw_cpuid_asked {
	u32 leaf, subleaf;
};
struct hw_cpuid_asked hw_cpuid_asked(struct hw_cpu *cpu);
void hw_cpuid_done(struct hw_cpu *cpu, const struct cpuid_result *result);

/* SVM_EXIT_MSR, without SEV-ES or with `native_msr`: likewise. */
struct hw_msr_asked {
	u32 msr;
	bool write;
	u64 value; /* that is written */
};
struct hw_msr_asked hw_msr_asked(struct hw_cpu *cpu);
void hw_msr_done(struct hw_cpu *cpu, bool ok, u64 value); /* of a read; not ok: #GP */

/* A guest without SEV. */
struct vmcb_save *hw_plain_registers(struct hw_cpu *cpu); /* RAX and RSP are here, */
u64 *hw_plain_gprs(struct hw_cpu *cpu);                   /* the others by enum hw_gpr */
u32 hw_plain_code(struct hw_cpu *cpu, u8 *bytes, u32 size); /* of its instruction; how many bytes could be read */
u32 hw_plain_mode(struct hw_cpu *cpu);                      /* 16, 32 or 64 bits */
void hw_plain_step(struct hw_cpu *cpu, u32 length);         /* over an instruction that was carried out for it */
void hw_plain_step_over(struct hw_cpu *cpu);                /* over the one that exited */
/* IRET ends the guest's NMI handler: SVM_EXIT_IRET before it, */
void hw_plain_intercept_iret(struct hw_cpu *cpu, bool on);
void hw_plain_run_one(struct hw_cpu *cpu);                  /* and SVM_EXIT_EXC_DB after it: it alone is executed. At that exit: */
void hw_plain_has_run_one(struct hw_cpu *cpu);
/* The next instruction alone is executed, no interrupt before or after it; each exception is an exit, #DB is its end. */
void hw_plain_step_begin(struct hw_cpu *cpu);
void hw_plain_step_end(struct hw_cpu *cpu, bool executed);
void hw_plain_exception(struct hw_cpu *cpu, const struct hw_exit *exit); /* the guest's own, after that */
void hw_reset(struct hw_cpu *cpu, u32 vmpl);                /* registers as after reset; without effect on a VMSA */
void hw_init(struct hw_cpu *cpu);                           /* as after INIT */
void hw_sipi(struct hw_cpu *cpu, u8 vector);

/*
 * It was in the same loop when this was asked last: it probably waits for a write by another vCPU, without PAUSE. One
 * processor that runs all vCPUs needs to know it; several would not.
 */
bool hw_spins(struct hw_cpu *cpu);

/* The log: hw_log() fills vCPU, VMPL and mode of the processor. Returns the record's number, 0 if it was lost. */
u64 hw_log(struct hw_cpu *cpu, struct record record);
/* In the log's header: all vCPUs are in HLT with interrupts off, or no longer. */
void hw_log_halted(struct hw_cpu *cpu, bool halted);
/* Log the end of the run, and halt. */
_Noreturn void hw_stop(struct hw_cpu *cpu, enum record_end reason, u64 value, u64 extra);
_Noreturn void hw_fail(struct hw_cpu *cpu, const char *text, u32 line); /* an assertion */

/* For records only: values that no hypervisor sees on hardware. */
u64 hw_observe_pc(const struct hw_cpu *cpu);              /* linear address of the guest's instruction */
u64 hw_observe_vc_pc(const struct hw_cpu *cpu, u64 code); /* that raised the #VC with such a code that is being handled, else of the VMGEXIT */
/* APIC_BASE of a VMPL: accesses to the page that it names, and their mode, are observed from now on. */
void hw_observe_apic_base(struct hw_cpu *cpu, u32 vmpl, u64 base);
u64 hw_observe_vmgexit_pc(const struct hw_cpu *cpu);
bool hw_observe_is_apic_page(struct hw_cpu *cpu, u64 gpa); /* of the VMPL that runs, or the page at reset */
/*
 * The access that an answer to the VMPL that runs is for: one to `address` (GPA or MSR number) that has none yet. Sets
 * `pc` and returns bits 31:2 of the record's aux; 0 if there was none: `pc` stays, or is that of the access whose handler
 * asks again.
 */
u32 hw_observe_answer(struct hw_cpu *cpu, enum record_path path, u64 address, bool write, u64 *pc);
u32 hw_observe_rmp(struct hw *hw, u64 gpa);               /* an RMP entry as records have it */
void hw_observe_image(struct hw_cpu *cpu);                /* the image that the guest runs */
void hw_observe_code(struct hw_cpu *cpu, u64 pc);         /* and the bytes of an instruction */
void hw_observe_vectors_anew(struct hw_cpu *cpu);         /* log each vector that is taken once more */

struct hw_call {
	u64 rax;
	u64 rcx;
	u64 rdx;
};

struct hw_call hw_observe_call(const struct hw_cpu *cpu); /* the registers of an SVSM call (58019, section 4) */

#endif
