/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The state of the emulated hardware: everything of a vCPU is in struct hw_cpu, everything shared in struct hw.
 */
#ifndef SNP_HW_CPU_H
#define SNP_HW_CPU_H

#include "apic.h"
#include "hw.h"
#include "in_place.h"
#include "psp_guest.h"
#include "rmp.h"

/* The composed nested page tables of a VMPL: see npt.c. */
struct npt {
	u64 *paged;   /* root while the guest pages: shared view low, private view at the C-bit */
	u64 *unpaged; /* root while it does not: every access is private (APM vol. 2, 15.34.5) */
	bool mapped;  /* something was mapped */
};

/* Kinds of #VC with an address of their own. */
enum vc_kind { VC_CPUID, VC_MSR, VC_IOIO, VC_NPF, VC_OTHER, VC_KINDS };

/* An access to a local APIC that an answer may still be about: see observe.c. */
struct hw_open {
	u64 address;   /* GPA or MSR number */
	u64 pc;
	u32 seq;       /* of its RECORD_ACCESS, or 0: that was lost */
	u8 path;       /* enum record_path */
	u8 directions; /* without an answer: 1 read, 2 write */
};

#define OPEN_ACCESSES 4 /* handlers of #VC nest */

/* One VMPL of one vCPU. */
struct hw_vmpl {
	struct vmcb *vmcb;
	u64 gpr[16];       /* RAX and RSP are in the VMCB */
	u64 ghcb_msr;      /* MSR C0010130 */
	u64 vmsa_gpa;      /* registered, or NO_GPA */
	u64 vmsa_spa;
	u64 sev_features;  /* of that VMSA */
	u64 sev_status;    /* MSR C0010131 */
	bool fresh;        /* that VMSA has not run yet */
	bool alternate;    /* Alternate Injection: the VMSA controls interrupts */
	bool busy;         /* VMSA_VINTR_BUSY of its VMSA */
	bool hidden_current; /* FS, GS, TR ... are in the CPU, not yet in the VMCB */
	bool stepped;      /* hw_plain_run_one(): the guest itself had TF set */
	u8 apic_mode;      /* EN<<1 | EXTD of its APIC_BASE */
	u8 source;         /* of the vector offered, enum record_irq_source */
	int offered;       /* the vector in V_IRQ, by the hypervisor, or -1 */
	u32 opened;        /* number of accesses to its local APIC */
	u64 dr[4];
	u64 xcr0;
	u8 *xsave;         /* FPU, SSE and AVX state while another VMPL runs */
	u64 vc_rip[VC_KINDS]; /* linear address of the last #VC of each kind: handlers nest, an NAE event is about its own */
	u64 vc_frame[VC_KINDS]; /* where its frame was pushed */
	u64 vc_code;          /* of the last one */
	u64 vmgexit_pc;       /* of the last VMGEXIT */
	u64 apic_page;        /* GPA of its local APIC */
	struct hw_open open[OPEN_ACCESSES]; /* the last ones */
};

#define PAGING_LEVELS 5

/* The page-table entries of a translation, from the top. */
struct page_walk {
	u32 levels;
	volatile a64 *at[PAGING_LEVELS]; /* of 4 bytes without PAE */
	u64 entry[PAGING_LEVELS];
};

/* A translation, valid until CR3, the paging mode or one of its entries changes: for tables and stacks of event delivery. */
struct translation {
	u64 cr3;
	u64 page;
	u64 mode;
	u8 *memory;
	struct page_walk walk;
};

/* An instruction that exited: TCG reports neither its length nor its bytes. */
struct known_instruction {
	u64 pc;
	u32 exit_code;
	u8 which; /* enum insn_simple */
	u8 length;
};

/* The bytes of an instruction that have been logged: see image.c. */
struct known_code {
	u64 pc;
	u64 bytes[3];
	u32 size; /* how many could be read */
	u32 vmpl;
};

/* What hw_retry() repeats. */
enum retry { RETRY_NOTHING, RETRY_ACCESS, RETRY_INSTRUCTION };

#define TRANSLATIONS       16
#define KNOWN_INSTRUCTIONS 32
#define KNOWN_CODE         32
#define CODE_PAGES         64
#define EXIT_CODES         256
#define MAX_IMAGES         256

/*
 * The emulator's TLB is empty after each exit, so the fields that each exit uses are together, at the start of
 * this structure and of struct hw.
 */
struct hw_cpu {
	struct hw *hw;
	struct machine *machine;
	u32 index;
	u8 vmpl; /* the one that runs */
	u32 log_level;
	u32 exits;       /* since the counters were last published */
	u8 retry;        /* enum retry */
	u8 which;        /* RETRY_INSTRUCTION: enum insn_simple and the length of PVALIDATE or RMPADJUST, */
	u8 length;
	bool carried;    /* V_IRQ has the vector in `injected`: see alternate_before_entry() */
	u32 before;      /* and the RMP entry before the first try */
	u64 executable[2]; /* pages that are executable until the next exit, or NO_GPA: see access.c */
	u64 offer;       /* with Alternate Injection: the VMSA's V_IRQ and its fields, until it is taken; or 0 */
	int posted;      /* and its vector while it is in V_IRQ, or -1 */
	int injected;    /* vector of the VMSA's event_inj that is not taken yet, or -1 */
	struct hw_vmpl state[CONFIG_VMPLS];
	struct known_instruction known[KNOWN_INSTRUCTIONS];
	u64 code_page[CODE_PAGES]; /* code pages seen: see image.c */
	u16 exit_count[EXIT_CODES]; /* since last published */
	struct translation translation[TRANSLATIONS];

	/* Few exits use the rest. */
	u64 spin_pc;         /* see hw_spins() */
	u64 tsc_aux;         /* while another vCPU has the processor */
	u32 taken_seen[APIC_VECTOR_WORDS]; /* vectors logged since the last CONFIGURE_VECTOR */
	u64 image_base[MAX_IMAGES];
	u64 image_size[MAX_IMAGES];
	u32 image_entry[MAX_IMAGES];
	struct known_code known_code[KNOWN_CODE];
	u32 images;
};

/* hw_plain_step_begin(): the guest's registers, but for those of hw_plain_gprs(), and the exceptions that were intercepted. */
struct step {
	struct vmcb_save before;
	u32 intercepts;
};

struct hw {
	struct machine *machine;
	bool snp;          /* SEV-SNP */
	bool es;           /* SEV-ES or SNP: the registers are the guest's own, exits become #VC */
	bool encrypted;    /* SEV of any kind: there is a C-bit */
	bool strict;       /* violations are delivered, not only recorded */
	bool vc_rdtsc;     /* the hypervisor intercepts RDTSC and RDTSCP, which are one intercept in TCG */
	bool vc_rdtscp;
	bool native_io;    /* port I/O does not become #VC */
	bool native_cpuid; /* nor does CPUID, */
	bool native_msr;   /* nor do most MSRs */
	bool shortcuts;    /* pages are mapped in groups, and reads of its own MSRs answered at once: the records are the same */
	u64 c_bit;         /* mask */
	u64 cr0, cr4;      /* the emulator's own */
	struct in_place in_place;
	u64 xcr0_all;      /* every feature that XSAVE can move here */
	struct npt npt[CONFIG_VMPLS];
	u32 slots;
	struct hw_slot slot[HW_SLOTS];
	struct rmp rmp;
	u64 *dma_table;    /* of the IOMMU: see iommu.c */
	u32 dma_flush;     /* the register for it */
	struct hw_cpu cpu[HW_CPUS];
	struct psp_guest psp;
	struct step step;  /* of one vCPU at a time */
};

_Static_assert(offsetof(struct hw, cpu) + offsetof(struct hw_cpu, translation) <= PAGE_SIZE,
	       "what each exit uses of the first vCPU is on one page");

static inline struct hw_vmpl *current(struct hw_cpu *cpu) { return &cpu->state[cpu->vmpl]; }
static inline struct vmcb *vmcb(const struct hw_cpu *cpu) { return cpu->state[cpu->vmpl].vmcb; }
static inline bool log_at(const struct hw_cpu *cpu, u32 level) { return cpu->log_level >= level; }

void log_exit(struct hw_cpu *cpu, u64 code); /* count an #VMEXIT */
void switch_save_hidden(struct hw_cpu *cpu); /* FS, GS, TR ... into the VMCB */
void switch_load_hidden(struct hw_cpu *cpu); /* the same from it, and DR0-3 */

#endif
