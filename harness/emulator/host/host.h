/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The emulated SNP host: its state, and what its parts offer each other.
 *
 * Everything that belongs to a vCPU is in struct vcpu, everything that is shared in struct host;
 * functions get the one or the other. A GPA never carries the C-bit here unless its name says so.
 */
#ifndef SNP_HOST_H
#define SNP_HOST_H

#include "config.h"
#include "record.h"
#include "sev.h"
#include "svm.h"
#include "types.h"
#include "vapic.h"

#define HOST_MAX_VCPUS   16
#define HOST_MAX_REGIONS 6
#define HOST_MAX_IMAGES  256
#define HOST_IOAPIC_HALVES 48 /* of QEMU's 24 redirection entries */
#define NO_GPA           (~0ull)
#define NO_DEADLINE      (~0ull)

enum gpr { GPR_RAX, GPR_RCX, GPR_RDX, GPR_RBX, GPR_RSP, GPR_RBP, GPR_RSI, GPR_RDI }; /* then R8-R15 */

struct vmsa;
struct ghcb_doorbell_vmpl;

/* Guest memory: a range of GPAs with RAM behind it and an RMP entry a page. */
struct region {
	u64 gpa;
	u64 size;
	u64 hpa;        /* what private accesses see */
	u64 shared_hpa; /* what shared accesses see: differs for the firmware only, see rmp.c */
	u32 *rmp;       /* size / 4096 entries */
};

/* A nested page table: see npt.c. */
struct npt {
	u64 *paged;   /* root while the guest pages: shared view low, private view at the C-bit */
	u64 *unpaged; /* root while it does not: every access is private (APM vol. 2, 15.34.5) */
};

/* Kinds of #VC whose address is kept apart. */
enum vc_kind { VC_CPUID, VC_MSR, VC_IOIO, VC_NPF, VC_OTHER, VC_KINDS };

/* One VMPL of one vCPU. */
struct vmpl_state {
	struct vmcb *vmcb;
	u64 vmcb_pa;
	u64 gpr[16];      /* RAX and RSP are in the VMCB */
	u64 ghcb_msr;     /* MSR C0010130 */
	u64 ghcb_gpa;     /* registered (MSR protocol 012), or NO_GPA */
	u64 vmsa_gpa;     /* from AP creation, or NO_GPA */
	u64 sev_features; /* of that VMSA */
	u64 init_vmsa_gpa; /* by AP creation "on INIT": comes in its place then; or NO_GPA */
	u64 init_features;
	bool fresh;       /* nobody has run it yet */
	u64 dr[4];
	u64 dr7;          /* as written by NAE event; the CPU's is in the VMCB */
	u64 xcr0;
	u8 *ghcb;         /* the GHCB page at `ghcb_msr`, while `ghcb_generation` is the RMP's */
	u64 ghcb_page;
	u64 ghcb_generation;
	u8 *xsave;        /* FPU, SSE and AVX state while another VMPL runs */
	bool hidden_current; /* FS, GS, TR ... are in the CPU, not yet in the VMCB */
	u64 vc_rip[VC_KINDS]; /* linear address of the last #VC of each kind: handlers nest, an NAE event is about its own */
	u64 vc_code;          /* of the last one */
	u64 svsm_call;        /* RAX, RCX and RDX of the SVSM call that VMPL0 has not answered yet */
	u64 svsm_rcx;
	u64 svsm_rdx;
	u64 svsm_pc;          /* of the instruction it was made for */
	bool svsm_called;
	bool alternate;       /* Alternate Injection: the VMSA rules interrupts */
	bool vc_msr_open;     /* the last #VC was of an access to vc_msr, and nobody was asked to serve it yet */
	u32 vc_msr;
};

/* A translation the guest has used, good as long as CR3 and its last entry stay: for the tables and stacks of event delivery. */
struct translation {
	u64 cr3;
	u64 page;
	u8 *memory;
	const volatile a64 *leaf;
	u64 entry;
};

/* An instruction that exited: TCG tells neither its length nor its bytes. */
struct known_instruction {
	u64 pc;
	u32 exit_code;
	u8 which; /* enum insn_simple */
	u8 length;
};

#define TRANSLATIONS       16
#define KNOWN_INSTRUCTIONS 32
#define CODE_PAGES         64
#define EXIT_CODES         256

/*
 * Every TLB entry of the host is gone after each exit, so what each exit touches is kept together,
 * at the start of this structure and of struct host.
 */
/* VMPL0's #HV doorbell page, and what waits for it: see doorbell.c. */
struct doorbell {
	u64 gpa;               /* NO_GPA: none set */
	u8 *page;              /* while `generation` is the RMP's; NULL: not a shared page */
	u64 generation;
	bool signal;           /* #HV is to be injected at VMPL0's next entry */
	u8 injection_vector;   /* given to VMPL0 with events of lower VMPLs; 0: none */
	u32 own[APIC_VECTOR_WORDS]; /* vectors for VMPL0 itself */
};

/* What a vCPU does not run for: see schedule.c. */
enum wait {
	WAIT_NOTHING,
	WAIT_INTERRUPT, /* HLT */
	WAIT_SIPI,      /* after INIT; without SEV after reset as well */
	WAIT_HOLD,      /* AP reset hold: until SIPI */
	WAIT_VMSA,      /* the VMPL that shall run has none */
};

struct vcpu {
	struct host *host;
	u32 index; /* and its APIC ID */
	u8 vmpl; /* the one that runs */
	u8 guest_vmpl;
	bool apic_virtual;   /* not QEMU's */
	bool apic_dirty;     /* something changed that decides about interrupts */
	bool yield;          /* another vCPU may have the processor before this one runs on */
	u8 wait;             /* enum wait */
	u32 log_level;
	u32 exits;           /* since the counters were last published */
	u64 deadline_tsc;    /* the virtual timer is due: look again */
	u64 vintr;           /* as given to the last VMRUN */
	u64 offer;           /* with Alternate Injection: the VMSA's V_IRQ and what belongs to it, until it is taken; or 0 */
	int posted;          /* vector in V_IRQ, or -1 */
	bool posted_extint;
	bool pic_waiting;    /* the PIC has an interrupt that the guest cannot take yet */
	bool nmi_pending;
	int extint;          /* vector the PIC gave, or -1 */
	int injected;        /* vector of the VMSA's event_inj that is not taken yet, or -1 */
	struct vmpl_state state[CONFIG_VMPLS];
	struct translation translation[TRANSLATIONS];
	struct known_instruction known[KNOWN_INSTRUCTIONS];
	u64 code_page[CODE_PAGES]; /* code pages seen: see image.c */
	u16 exit_count[EXIT_CODES]; /* since last published */

	/* From here on, what few exits touch. */
	struct vapic apic[CONFIG_VMPLS]; /* the hypervisor's, one a VMPL */
	struct doorbell doorbell;
	bool vmsa_came;      /* by AP creation, for a VMPL below the one that runs: ends VMPL0's HLT, a later one too */
	u64 hold_ghcb;       /* GHCB whose AP reset hold waits for its answer, or NO_GPA: that of the MSR protocol */
	u64 tsc_aux;         /* while another vCPU has the processor */
	u32 level[8];        /* level-triggered vectors whose physical EOI waits for the guest's */
	u32 eoi_owed[8];     /* ended by the guest, but not the highest in the physical ISR yet */
	u8 irq_source[256];  /* enum record_irq_source of a vector that was posted */
	u32 posted_seen[APIC_VECTOR_WORDS]; /* vectors logged since the last CONFIGURE_VECTOR: posted, taken */
	u32 taken_seen[APIC_VECTOR_WORDS];
	u32 fault_count[CONFIG_FAULTS]; /* occasions of each fault so far */
	u64 delayed_until_ns; /* CONFIG_FAULT_DELAYED_INTERRUPT: nothing is posted before */
	u64 image_base[HOST_MAX_IMAGES];
	u64 image_size[HOST_MAX_IMAGES];
	u32 images;
};

struct host {
	bool sev;               /* SNP on */
	u64 c_bit;              /* mask */
	u64 rmp_generation;     /* of the RMP: pointers to shared pages are good as long as it stays */
	u64 tsc_start;
	u64 tsc_to_ns;          /* 32.32 fixed point */
	u64 ns_to_tsc;          /* 32.32 fixed point */
	u64 tsc_khz;
	u64 cr0, cr4;           /* the host's own */
	u64 interrupts;         /* physical interrupts taken */
	u64 timer_armed_ns;     /* deadline in the physical timer, or NO_DEADLINE */
	u64 slice_end_ns;       /* another vCPU's turn, or NO_DEADLINE: nobody waits for one */
	u32 vcpus;
	const struct host_config *config;
	struct record_ring *ring;
	struct record *records;
	u64 ring_tail;          /* the reader's position when last looked at */
	struct vcpu vcpu[HOST_MAX_VCPUS];
	struct region region[HOST_MAX_REGIONS];
	u32 regions;
	struct npt npt[CONFIG_VMPLS];
	u64 allocated;          /* next free physical address of the host's RAM */
	u64 scratch_page;       /* all ones: what the guest sees where there is nothing */
	u64 ap_jump_table;
	u32 ioapic[HOST_IOAPIC_HALVES]; /* as the guest wrote them */
	u8 ioapic_index;
	u64 xcr0_all;           /* every feature that XSAVE can move here */
};

static inline struct vmpl_state *current(struct vcpu *vcpu) { return &vcpu->state[vcpu->vmpl]; }
static inline struct vmcb *vmcb(struct vcpu *vcpu) { return current(vcpu)->vmcb; }
static inline struct vapic *own_apic(struct vcpu *vcpu) { return &vcpu->apic[vcpu->vmpl]; }
static inline struct vapic *guest_apic(struct vcpu *vcpu) { return &vcpu->apic[vcpu->guest_vmpl]; }
static inline bool has_doorbell(const struct vcpu *vcpu) { return vcpu->doorbell.gpa != NO_GPA; }
static inline struct vcpu *boot_vcpu(struct vcpu *vcpu) { return &vcpu->host->vcpu[0]; } /* devices interrupt it */
static inline bool is_guest(const struct vcpu *vcpu) { return vcpu->vmpl == vcpu->guest_vmpl; }
static inline bool vc_on(const struct vcpu *vcpu, u64 exit) { return vcpu->host->sev && (vcpu->host->config->vc_exits & exit); }

/* entry.S */
void vm_enter(u64 *gpr, u64 vmcb_pa);

/* main.c */
_Noreturn void host_stop(struct vcpu *vcpu, enum record_end reason, u64 value, u64 extra);
_Noreturn void host_fail(struct vcpu *vcpu, const char *text, u32 line);
_Noreturn void host_halt(void);
void *host_alloc(struct host *host, u64 size, u64 alignment); /* zeroed; its address is physical */

/* Log and stop when `condition` does not hold. */
static inline void host_assert(struct vcpu *vcpu, bool condition, const char *text, u32 line)
{
	if (!condition)
		host_fail(vcpu, text, line);
}

/* interrupts.c */
void interrupts_setup(void);
void interrupts_take(void);
void interrupts_wait(void);

/* log.c */
bool log_open(struct host *host); /* false when it was open before this start of the host */
void log_write(struct vcpu *vcpu, struct record record); /* fills seq, time, vcpu, vmpl, mode flags, check */
void log_text(struct vcpu *vcpu, const char *text, u32 line);
static inline bool log_at(const struct vcpu *vcpu, u32 level) { return vcpu->log_level >= level; }
u64 now_ns(const struct host *host);

/* memory.c */
void memory_setup(struct host *host);
struct region *memory_region(struct host *host, u64 gpa); /* NULL: no memory there */
u8 *memory_private(struct host *host, u64 gpa, u64 size);  /* NULL: not all in one region */
u8 *memory_shared(struct host *host, u64 gpa, u64 size);   /* the same for shared accesses; NULL too unless the pages are shared */

/* guest.c */
u64 guest_pc(struct vcpu *vcpu);     /* linear address of the instruction */
u32 guest_mode_bits(struct vcpu *vcpu); /* 16, 32 or 64 */
u8 *guest_pointer(struct vcpu *vcpu, u64 linear, u64 *gpa_with_c); /* NULL: not mapped, or no memory */
bool guest_read(struct vcpu *vcpu, u64 linear, void *to, u64 size);
bool guest_write(struct vcpu *vcpu, u64 linear, const void *from, u64 size);
u32 guest_code(struct vcpu *vcpu, u8 *bytes, u32 size); /* bytes of the instruction that could be read */
struct known_instruction *guest_instruction(struct vcpu *vcpu); /* the one that exited; stops when it cannot be known */
void guest_skip(struct vcpu *vcpu, u32 length);
u64 guest_gpr(struct vcpu *vcpu, u32 reg);
void guest_set_gpr(struct vcpu *vcpu, u32 reg, u64 value);

/* rmp.c */
bool rmp_fault(struct vcpu *vcpu); /* an #NPF on memory: false when the GPA has none */
void rmp_launch(struct host *host, u64 gpa, u64 size); /* validated, as launch update leaves it */
void rmp_set_shared(struct host *host, u64 gpa, u64 size);
bool rmp_is_shared(struct host *host, u64 gpa);
u32 rmp_pvalidate(struct vcpu *vcpu, u64 gpa, bool large, bool validate, bool *unchanged);
u32 rmp_adjust(struct vcpu *vcpu, u64 gpa, bool large, u64 attributes);
bool rmp_page_state_change(struct vcpu *vcpu, u64 gpa, u32 operation, bool large);
void rmp_violation(struct vcpu *vcpu, u64 gpa_with_c, u32 entry, u64 info, enum record_violation what);
bool rmp_is_vmsa(struct host *host, u64 gpa);

/* npt.c */
void npt_setup(struct host *host);
u64 npt_root(struct vcpu *vcpu);
void npt_map(struct host *host, u32 vmpl, bool private_view, u64 gpa, u64 hpa, bool large, u64 bits);
void npt_unmap(struct host *host, u64 gpa, bool large); /* every VMPL, both views */
#define NPT_PRESENT 0x01ull
#define NPT_WRITE   0x02ull
#define NPT_USER    0x04ull
#define NPT_ACCESSED_DIRTY 0x60ull
#define NPT_LARGE   0x80ull
#define NPT_NX      BIT(63)
#define NPT_RWX     (NPT_PRESENT | NPT_WRITE | NPT_USER | NPT_ACCESSED_DIRTY)

/* event.c */
enum { VECTOR_UD = 6, VECTOR_GP = 13, VECTOR_PF = 14 };
u64 event_pc(struct vcpu *vcpu, u64 exit_code); /* of the instruction that raised the last #VC with this code */
void event_vc(struct vcpu *vcpu, u64 code);
void event_exception(struct vcpu *vcpu, u8 vector, bool has_error, u32 error);
void event_after_exit(struct vcpu *vcpu);

/* apic_interrupts.c */
void apic_setup(struct vcpu *vcpu);
void apic_carry_out(struct vcpu *vcpu, const struct vapic_effect *effect);
void apic_before_entry(struct vcpu *vcpu);
void apic_after_exit(struct vcpu *vcpu);
bool apic_wakes(struct vcpu *vcpu); /* a vCPU in HLT has something to go on for */
void apic_sleep(struct vcpu *vcpu); /* nobody has: until a physical interrupt */
void apic_post(struct vcpu *vcpu, struct vapic *apic, u8 vector, bool level, enum record_irq_source source);
void apic_physical_interrupt(struct vcpu *vcpu); /* INTR and NMI exits */
void host_interrupt(struct vcpu *vcpu, u32 vector); /* from entry.S */

void apic_end_level(struct vcpu *vcpu, u8 vector); /* specific EOI: the device may ask again */
void apic_mirror_pic(struct vcpu *vcpu); /* the PIC reaches the guest or not: look again */

/* doorbell.c: restricted injection of VMPL0 */
bool doorbell_set(struct vcpu *vcpu, u64 gpa); /* NO_GPA: none */
void doorbell_post_own(struct vcpu *vcpu, u8 vector); /* for VMPL0 itself */
volatile struct ghcb_doorbell_vmpl *doorbell_entry(struct vcpu *vcpu, u32 vmpl); /* NULL: no page */
bool doorbell_post(struct vcpu *vcpu, u32 vmpl, u8 vector, bool level); /* false: it has to wait */
void doorbell_post_nmi(struct vcpu *vcpu, u32 vmpl);
void doorbell_flush(struct vcpu *vcpu); /* VMPL0's own vectors */
void doorbell_before_entry(struct vcpu *vcpu); /* of VMPL0 */

/* alternate.c: Alternate Injection */
void alternate_setup(struct vcpu *vcpu);
void alternate_begin(struct vcpu *vcpu, u32 vmpl, u64 features); /* a VMSA was registered */
bool alternate_disable(struct vcpu *vcpu, u32 vmpl, u8 tpr); /* the hypervisor's APIC takes over; false: it was not on */
void alternate_load(struct vcpu *vcpu, struct vmpl_state *state, const struct vmsa *vmsa);
void alternate_save(struct vcpu *vcpu, struct vmpl_state *state, struct vmsa *vmsa);
void alternate_post(struct vcpu *vcpu); /* what the guest's hypervisor APIC requests goes to the doorbell */
void alternate_after_exit(struct vcpu *vcpu);
void alternate_set_tpr(struct vcpu *vcpu, u8 cr8);
bool alternate_can_take(struct vcpu *vcpu); /* what the VMSA injects or offers would be taken now */
bool fault_now(struct vcpu *vcpu, u32 fault); /* it is time for this CONFIG_FAULT_* */

/* apic.c */
void apic_svsm_access(struct vcpu *vcpu, bool write, u64 value, u64 result); /* the SVSM answered a register call */
enum vapic_result apic_mmio(struct vcpu *vcpu, u64 gpa, u32 size, bool write, u64 *value, u64 pc);
bool apic_owns_msr(u32 msr);
bool apic_msr(struct vcpu *vcpu, u32 msr, bool write, u64 *value, u64 pc); /* false: #GP */
bool apic_is_enabled(struct vcpu *vcpu);

/* cpuid.c */
struct cpuid_result;
void guest_cpuid(struct vcpu *vcpu, u32 leaf, u32 subleaf, struct cpuid_result *result);
void cpuid_fill_page(struct vcpu *vcpu, u8 *page);

/* msr.c */
void msr_setup(struct host *host, u8 *permissions);
bool msr_access(struct vcpu *vcpu, u32 msr, bool write, u64 *value, u64 pc); /* false: #GP */
void msr_exit(struct vcpu *vcpu);

/* io.c */
void io_setup(struct host *host, u8 *permissions);
u32 io_read(struct vcpu *vcpu, u16 port, u32 size);
void io_write(struct vcpu *vcpu, u16 port, u32 size, u32 value);
void io_exit(struct vcpu *vcpu);
void io_string(struct vcpu *vcpu, u16 port, u32 size, bool in, u8 *buffer, u64 count);

/* mmio.c, mmio_emulate.c */
void mmio_emulate(struct vcpu *vcpu, u64 gpa);
void mmio_exit(struct vcpu *vcpu); /* an #NPF on a GPA without memory */
bool mmio_access(struct vcpu *vcpu, u64 gpa, u32 size, bool write, u64 *value, u64 pc); /* false: nobody answers */

/* vmgexit.c, nae.c */
void vmgexit(struct vcpu *vcpu);
void nae_event(struct vcpu *vcpu);
u64 sev_status(struct vcpu *vcpu); /* MSR C0010131 of the VMPL that runs */

/* ipi.c: between vCPUs, or to oneself */
void ipi_send(struct vcpu *vcpu, u64 icr); /* to the APICs of the VMPL that runs; `icr`: x2APIC form */
void ipi_from_device(struct host *host, u64 icr, bool level); /* Fixed or lowest priority, to guests' APICs */
bool ipi_hv(struct vcpu *vcpu, u64 icr);   /* #HV IPI; false: not a Fixed one */

/* ioapic.c: only where there are several vCPUs */
bool ioapic_owns(struct vcpu *vcpu, u64 gpa);
void ioapic_access(struct vcpu *vcpu, u64 gpa, u32 size, bool write, u64 *value);
bool ioapic_route(struct host *host, u8 vector, u64 *icr); /* where an entry sends a vector, as an ICR; false: there is none */

/* startup.c: how vCPUs begin and end to run */
void startup_reset(struct vcpu *vcpu); /* before the first VMRUN of an AP */
void startup_reset_state(struct vmpl_state *state); /* the registers of a CPU at reset */
void startup_init(struct vcpu *vcpu);
void startup_sipi(struct vcpu *vcpu, u8 vector);
void startup_hold(struct vcpu *vcpu, u64 ghcb_gpa);
void startup_vmsa(struct vcpu *vcpu, u32 vmpl, u64 gpa, u64 features); /* NO_GPA: the VMPL has none from now on */

/* schedule.c */
struct vcpu *schedule(struct vcpu *vcpu); /* the vCPU that runs next; stops when there is none and never will be */
u64 schedule_slice_end(struct vcpu *vcpu); /* or NO_DEADLINE */
void schedule_tick(struct vcpu *vcpu);

/* vmpl.c */
void vmpl_leave(struct vcpu *vcpu);           /* what VMRUN does not switch: out of the processor ... */
void vmpl_enter(struct vcpu *vcpu, u32 vmpl); /* ... and in */
bool vmpl_is_runnable(struct vcpu *vcpu);     /* the VMSA of the VMPL that runs is one still */
bool vmpl_begin(struct vcpu *vcpu, u32 vmpl); /* from its VMSA, while the vCPU is not in the processor */
void vmpl_abandon(struct vcpu *vcpu);         /* the VMPL that runs: its VMSA is gone, and nothing is kept */
bool vmpl_run(struct vcpu *vcpu, u32 vmpl);    /* VMPL0 runs a lower one: false when it cannot be run */
void vmpl_return(struct vcpu *vcpu, u64 code); /* back to VMPL0, `code` for it in the VMSA */
void vmpl_save_hidden(struct vcpu *vcpu);

/* launch.c */
void launch(struct vcpu *vcpu);

/* image.c */
void image_seen(struct vcpu *vcpu);
void image_lookup(struct vcpu *vcpu, u64 pc);

/* exit.c */
void handle_exit(struct vcpu *vcpu);

#endif
