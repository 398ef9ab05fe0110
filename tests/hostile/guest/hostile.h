/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Firmware that tries to fool the harness. It looks like OVMF: SEC runs in flash, PEI and DXE are modules of the image. It
 * writes each access that it makes into its own memory, where the test reads them.
 */
#ifndef HOSTILE_H
#define HOSTILE_H

#include "ap.h"
#include "apic.h"
#include "apic_access.h"
#include "cpu.h"
#include "ghcb.h"
#include "io.h"
#include "layout.h"
#include "operation.h"
#include "serial.h"
#include "start.h"
#include "trap.h"
#include "vmgexit.h"

/* Written into the image for each run by tests/hostile/image.py. */
#define PARAMETERS_MAGIC 0x454C4954534F4824ull /* "$HOSTILE" */
struct hostile_parameters {
	u64 magic;
	char name[40];   /* the case */
	u64 vcpus;
	u64 seed;
	u64 sequences;   /* case "sequences": how many */
	u64 log_memory;  /* where the hypervisor's log is: firmware can guess it */
	u64 host_memory; /* and its own memory */
};
#define parameters ((const volatile struct hostile_parameters *)PARAMETERS)

/* What the firmware writes down of an access. tests/hostile/written.py reads it. */
struct written {
	u64 pc;
	u64 value;
	u32 number; /* address in the APIC page, or MSR */
	u8 path;    /* PATH_* */
	u8 write;   /* WRITE_OR_READ: an instruction that does both, of which the processor makes one access by its #VC */
	u8 size;
	u8 mode;    /* APIC_BASE bits 11:10 before it */
	u8 exact;   /* value is that of the access */
	u8 refused; /* #GP, or an error of the SVSM */
	u8 answer;  /* enum answer */
	u8 reserved[5];
};
_Static_assert(sizeof(struct written) == 32, "written.py");
#define WRITE_OR_READ 2
#define WRITTEN_BASE  0x2000000ull /* a count of 8 bytes in a page, then the entries; one area for each vCPU */
#define WRITTEN_SIZE  0x100000ull
#define WRITTEN_ENTRY 0x1000ull

/* Who answers the #VC of an access. */
enum answer {
	ANSWER_HYPERVISOR = 0,
	ANSWER_GUEST = 1, /* its own handler, without a VMGEXIT */
	ANSWER_SVSM = 2,
	ANSWER_DIRECT = 4,  /* there was no #VC */
	ANSWER_PERHAPS = 3, /* of an access to another page than this vCPU's APIC page: it may count as one, or not */
};

/* modules.S */
struct operation {
	u16 offset;
	u8 length, size, does, path;
};
extern const struct operation op_load1, op_load2, op_load4, op_load8, op_loadz1, op_loadz2, op_test4, op_compare4, op_or4,
	op_store1, op_store2, op_store4, op_store8, op_and4, op_add2, op_exchange4, op_stray4, op_rdmsr, op_wrmsr, op_vmgexit;
extern const u8 block_sec[], block_end_sec[], block_pei[], block_dxe[], module_end_dxe[];

/* The state of a vCPU. */
struct cpu {
	u64 index;
	u64 base; /* APIC_BASE as far as it knows */
	u64 block; /* where the block of instructions is that it runs: a module's, or a copy */
	enum answer answer;
	u64 alias; /* of an address that is mapped to the APIC page: what leads to the page's own address */
	/* Of the access that it makes now. */
	const struct operation *operation;
	u64 gpa; /* a handler finds it by a walk of the page tables, here it is given */
	bool refused;
};
extern struct cpu cpus[AP_MAX];
struct cpu *this_cpu(void);

void access_setup(void);
u64 access(const struct operation *operation, u64 address, u64 value); /* returns the value read */
bool access_refused(void);                                             /* the last one of this vCPU */
u64 svsm_access(u32 msr, bool write, u64 value);                       /* a call of the SVSM, without a #VC */
u64 direct_access(u64 code, u64 info1, u64 info2, u64 value);          /* an NAE event, without a #VC */
bool vc_handle(struct trap_frame *frame);

static inline u64 read_msr(u32 msr) { return access(&op_rdmsr, msr, 0); }
static inline void write_msr(u32 msr, u64 value) { access(&op_wrmsr, msr, value); }
static inline u32 mmio_read(u32 reg) { return (u32)access(&op_load4, APIC_DEFAULT_BASE + reg, 0); }
static inline void mmio_write(u32 reg, u32 value) { access(&op_store4, APIC_DEFAULT_BASE + reg, value); }

/* cases.c */
struct hostile_case {
	const char *name;
	void (*run)(void);
};
/* test_cases.py finds the cases by this macro in the sources. */
#define CASE(name)                                                                                  \
	static void name(void);                                                                     \
	static const struct hostile_case *const case_##name __attribute__((used, section(".tests"))) = \
		&(const struct hostile_case){ #name, name };                                        \
	static void name(void)

/* What firmware does. */
void enter_x2apic(void);     /* by a legal transition */
void sec_by_msr(void);       /* SEC's accesses, in x2APIC mode */
void sec_by_mmio(void);      /* the same by the APIC page: what breaks the contract */
void in_sec(void);           /* the rest runs in SEC again */
void to_pei(void);           /* the rest runs in PEI: one access by MSR, or APIC_BASE */
void to_dxe(void);           /* the same in DXE; the guest does not end after it */
extern bool dxe_reached;
/* A copy of the instructions at `to`, in memory. header: a page to put in front of it, 0: none. */
void copy_block(u64 to, u64 header);

#endif
