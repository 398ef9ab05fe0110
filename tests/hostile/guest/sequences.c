/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sequences of accesses made at random from a seed, legal and hostile ones mixed, on all vCPUs at once. The test compares
 * what the harness saw with what is written down here.
 */
#include "hostile.h"
#include "hpet.h"
#include "random.h"

#define LONGEST       12 /* operations of a sequence */
#define ELSEWHERE     0xFD000000u /* no device or memory of a q35 */
#define COPY(cpu)     (0x1900000ull + (cpu)->index * PAGE_SIZE)
#define PAGE_WINDOW(cpu) (TEST_AREA + 0x90000 + (cpu)->index * PAGE_SIZE)
#define LARGE_WINDOW  LARGE_AREA     /* a page of 2 MiB */
#define HUGE_WINDOW   0x100000000ull /* a page of 1 GiB: entry 4 of the PDPT */
#define HUGE_BASE     0xC0000000ull
#define ENTRY_SHARED  0x87 /* large, user, writable, present */
#define TIMER_VECTOR  0x51

static const struct operation *const mmio_operations[] = {
	&op_load1, &op_load2, &op_load4, &op_load8, &op_loadz1, &op_loadz2, &op_test4, &op_compare4, &op_or4,
	&op_store1, &op_store2, &op_store4, &op_store8, &op_and4, &op_add2, &op_exchange4, &op_load4, &op_store4,
};

/* Registers that take any value of these without an effect on the guest. */
static const struct { u32 reg, value; } harmless[] = {
	{ APIC_TPR, 0xFF }, { APIC_SPIV, 0x3FF }, { APIC_LVT_THERMAL, 0xFF }, { APIC_LVT_LINT0, 0xFF }, { APIC_ESR, 0 },
	{ APIC_TIMER_DIVIDE, 0xF }, { APIC_TIMER_INITIAL, 0 }, { APIC_EOI, 0 }, { APIC_LVT_ERROR, 0xFF },
};
static const u32 readable[] = { APIC_ID, APIC_VERSION, APIC_TPR, APIC_PPR, APIC_SPIV, APIC_ISR, APIC_IRR + 0x30, APIC_ICR,
			        APIC_LVT_TIMER, APIC_LVT_ERROR, APIC_TIMER_DIVIDE, APIC_TIMER_CURRENT };

/*
 * Requests without a #VC name other registers than all other accesses: one for a register whose last access the guest
 * answered itself would count as the answer of that access.
 */
#define ONLY_DIRECT_MMIO APIC_DFR
#define ONLY_DIRECT_MSR  X2(APIC_LDR)
#define ONLY_CALLED      X2(APIC_TMR) /* and the seven after it */

struct chooser {
	struct cpu *cpu;
	u64 random;
};

static u32 below(struct chooser *chooser, u32 limit) { return random_below(&chooser->random, limit); }
static bool has_mode(const struct cpu *cpu, u64 mode) { return (cpu->base & MODE_BITS) == mode; }
static bool active_svsm(void) { return has_svsm() && (ap_features() & SEV_FEATURES_ALTERNATE_INJECTION); }

/* The APIC page is at several linear addresses, and where APIC_BASE moved it. */
static u64 page_of(struct chooser *chooser)
{
	struct cpu *cpu = chooser->cpu;
	u64 page = cpu->base & APIC_BASE_ADDRESS, window = page;

	if (page == APIC_DEFAULT_BASE) {
		switch (below(chooser, 5)) {
		case 0:
			window = (u64)map_page(PAGE_WINDOW(cpu), page, below(chooser, 2));
			break;
		case 1:
			window = LARGE_WINDOW;
			break;
		case 2:
			window = HUGE_WINDOW + (page - HUGE_BASE);
			break;
		}
	}
	cpu->alias = page - window;
	return window;
}

static void mmio(struct chooser *chooser, const struct operation *operation, u32 reg, u32 value)
{
	access(operation, page_of(chooser) + reg, value);
	chooser->cpu->alias = 0;
}

static u32 harmless_value(u32 reg, u32 value)
{
	return reg >= APIC_LVT_TIMER && reg <= APIC_LVT_ERROR ? value | APIC_LVT_MASKED : value;
}

static void legal_access(struct chooser *chooser)
{
	struct cpu *cpu = chooser->cpu;
	u32 reg = readable[below(chooser, sizeof(readable) / sizeof(readable[0]))];

	if (has_mode(cpu, MODE_BITS))
		read_msr(X2(reg));
	else
		mmio(chooser, &op_load4, reg, 0);
}

static void write(struct chooser *chooser)
{
	u32 i = below(chooser, sizeof(harmless) / sizeof(harmless[0]));
	u32 value = harmless_value(harmless[i].reg, below(chooser, ~0u) & harmless[i].value);

	if (below(chooser, 2))
		write_msr(X2(harmless[i].reg), value);
	else
		mmio(chooser, &op_store4, harmless[i].reg, value);
}

/* Any instruction at any place of a register; one that writes reaches a register without effect. */
static void odd_mmio(struct chooser *chooser)
{
	const struct operation *operation = mmio_operations[below(chooser, sizeof(mmio_operations) / sizeof(mmio_operations[0]))];
	u32 reg = below(chooser, 256) * 16 + below(chooser, 17 - operation->size);

	if ((reg & ~15u) == ONLY_DIRECT_MMIO)
		reg += 16;
	if (operation->does & DOES_WRITE)
		reg = (below(chooser, 2) ? APIC_VERSION : APIC_ISR) + below(chooser, 17 - operation->size);
	mmio(chooser, operation, reg, below(chooser, ~0u));
}

static u32 any_msr(struct chooser *chooser)
{
	u32 msr = MSR_X2APIC_FIRST + below(chooser, 256);

	return msr == ONLY_DIRECT_MSR || (msr & ~7u) == ONLY_CALLED ? X2(APIC_TPR) : msr;
}

static void odd_msr(struct chooser *chooser)
{
	u32 msr = any_msr(chooser);

	if (below(chooser, 2))
		read_msr(msr);
	else
		write_msr(msr < X2(APIC_EXTENDED_FEATURE) ? X2(APIC_VERSION) : msr, random_next(&chooser->random));
}

static void change_mode(struct chooser *chooser)
{
	static const u64 modes[] = { 0, APIC_BASE_EXTD, APIC_BASE_EN, APIC_BASE_EN, MODE_BITS, MODE_BITS };
	struct cpu *cpu = chooser->cpu;
	u64 base = (cpu->base & (APIC_BASE_ADDRESS | APIC_BASE_BSP)) | modes[below(chooser, 6)];

	if (!below(chooser, 6))
		base ^= BIT(below(chooser, 8)); /* reserved */
	if (!below(chooser, 4))
		base = (base & ~APIC_BASE_ADDRESS) | (below(chooser, 2) ? ELSEWHERE : APIC_DEFAULT_BASE);
	write_msr(MSR_APIC_BASE, base);
}

static void read_base(struct chooser *chooser)
{
	(void)chooser;
	read_msr(MSR_APIC_BASE);
}

static void direct(struct chooser *chooser)
{
	static const u8 sizes[] = { 1, 2, 4, 8 };
	u64 page = chooser->cpu->base & APIC_BASE_ADDRESS;

	if (!sev())
		legal_access(chooser);
	else if (below(chooser, 2))
		direct_access(NAE_MSR, below(chooser, 2), ONLY_DIRECT_MSR, chooser->cpu->base);
	else
		direct_access(NAE_MMIO_READ, page + ONLY_DIRECT_MMIO, sizes[below(chooser, 4)], 0);
}

static void call(struct chooser *chooser)
{
	if (active_svsm())
		svsm_access(ONLY_CALLED + below(chooser, 8), false, 0);
	else
		legal_access(chooser);
}

static void other_answer(struct chooser *chooser)
{
	struct cpu *cpu = chooser->cpu;

	if (!sev())
		return;
	cpu->answer = active_svsm() && below(chooser, 2) ? ANSWER_SVSM : ANSWER_GUEST;
	if (cpu->answer == ANSWER_SVSM)
		read_msr(X2(readable[below(chooser, 4)]));
	else if (below(chooser, 2))
		read_msr(any_msr(chooser));
	else
		odd_mmio(chooser);
	cpu->answer = ANSWER_HYPERVISOR;
}

/* Exits that are not accesses. */
static void noise(struct chooser *chooser)
{
	u64 value;

	switch (below(chooser, 4)) {
	case 0:
		pause();
		break;
	case 1:
		map_page(PAGE_WINDOW(chooser->cpu), TEST_AREA, true);
		break;
	case 2:
		value = PAGE_WINDOW(chooser->cpu) + 0x10000;
		if (sev()) {
			make_shared(value);
			make_private(value);
		}
		break;
	default:
		if (!sev())
			mmio_in(HPET_BASE, 4);
	}
}

/* The default page while it is not this vCPU's APIC page: nobody's, or another vCPU's. */
static void stray(struct chooser *chooser)
{
	u64 page = chooser->cpu->base & APIC_BASE_ADDRESS;

	if (page != APIC_DEFAULT_BASE)
		access(&op_stray4, APIC_DEFAULT_BASE + APIC_TPR, 0);
	else
		access(&op_stray4, ELSEWHERE + APIC_TPR, 0);
}

static void other_block(struct chooser *chooser)
{
	const u64 blocks[] = { (u64)block_sec, (u64)block_pei, COPY(chooser->cpu) };

	chooser->cpu->block = blocks[below(chooser, 3)];
}

/* A tick of the timer, or none: its handler's EOI comes between two accesses. */
static void tick(struct chooser *chooser)
{
	struct cpu *cpu = chooser->cpu;

	if (sev() || has_mode(cpu, 0))
		return;
	if (has_mode(cpu, MODE_BITS)) {
		write_msr(X2(APIC_SPIV), 0x1FF);
		write_msr(X2(APIC_TPR), 0);
		write_msr(X2(APIC_LVT_TIMER), TIMER_VECTOR);
		write_msr(X2(APIC_TIMER_INITIAL), below(chooser, 2000));
	} else {
		mmio(chooser, &op_store4, APIC_SPIV, 0x1FF);
		mmio(chooser, &op_store4, APIC_TPR, 0);
		mmio(chooser, &op_store4, APIC_LVT_TIMER, TIMER_VECTOR);
		mmio(chooser, &op_store4, APIC_TIMER_INITIAL, below(chooser, 2000));
	}
	sti();
	for (u32 i = 0; i < 3; i++)
		legal_access(chooser);
	cli();
}

static void end_of_interrupt(u8 vector)
{
	struct cpu *cpu = this_cpu();

	(void)vector;
	cpu->alias = 0;
	if (has_mode(cpu, MODE_BITS))
		write_msr(X2(APIC_EOI), 0);
	else
		access(&op_store4, (cpu->base & APIC_BASE_ADDRESS) + APIC_EOI, 0);
}

static void sequence(struct chooser *chooser)
{
	static void (*const kinds[])(struct chooser *chooser) = {
		legal_access, legal_access, write, write, odd_mmio, odd_mmio, odd_msr, change_mode, change_mode, read_base,
		direct, call, other_answer, noise, stray, other_block, tick,
	};

	for (u32 count = 1 + below(chooser, LONGEST); count; count--)
		kinds[below(chooser, sizeof(kinds) / sizeof(kinds[0]))](chooser);
}

static void run_sequences(u64 index)
{
	struct chooser chooser = { .cpu = &cpus[index], .random = parameters->seed * 0x9E3779B97F4A7C15ull + index + 1 };

	for (u64 i = 0; i < parameters->sequences; i++)
		sequence(&chooser);
}

static void on_ap(struct ap *ap) { run_sequences(ap->index); }

CASE(sequences)
{
	((volatile u64 *)(PAGE_TABLES + 0x2000))[LARGE_WINDOW >> 21] = APIC_DEFAULT_BASE | ENTRY_SHARED;
	((volatile u64 *)(PAGE_TABLES + 0x1000))[HUGE_WINDOW >> 30] = HUGE_BASE | ENTRY_SHARED;
	__asm__ volatile("mov %%cr3, %%rax; mov %%rax, %%cr3" : : : "rax", "memory");
	for (u64 i = 0; i < parameters->vcpus; i++) {
		copy_block(COPY(&cpus[i]), 0);
		map_page(PAGE_WINDOW(&cpus[i]) + 0x10000, PAGE_WINDOW(&cpus[i]) + 0x10000, true);
	}
	on_interrupt = end_of_interrupt;
	if (!ap_start_others(parameters->vcpus))
		print("no other vCPU\n");
	for (u64 i = 1; i < parameters->vcpus; i++)
		ap_command(i, on_ap);
	run_sequences(0);
	for (u64 i = 1; i < parameters->vcpus; i++) {
		while (aps[i].command)
			pause();
	}
	print("done\n");
}
