/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Carries out operations on the local APIC, one by one, and prints a line for each:
 *   a value in hexadecimal   what a read gave
 *   .                        a write that was taken
 *   !                        #GP
 *   41, or -                 the vectors that came when interrupts were let in, or none
 * NMIs that came since the last line are told at its end: "n" and their number.
 */
#include "apic.h"
#include "cpu.h"
#include "io.h"
#include "operations.h"
#include "serial.h"
#include "start.h"
#include "trap.h"

#define FAR_TICKS_SHIFT 40 /* minutes of the TSC */
#define DIVIDE_BY_128   0xA
#define ROUNDS          300
#define HARMLESS_IPI    (APIC_SHORTHAND_OTHERS | APIC_ICR_ASSERT | 0x20)

static const struct parameters initial __attribute__((used, section(".parameters"))) = { .magic = PARAMETERS_MAGIC };

void guest_main(void);

static u8 taken[64];
static u32 taken_count;
static u64 nmis_told;

static volatile u32 *apic_register(u32 reg) { return (volatile u32 *)(APIC_DEFAULT_BASE + reg); }

static void took(u8 vector)
{
	if (vector != VECTOR_NMI && taken_count < sizeof(taken))
		taken[taken_count++] = vector;
}

/* What a hypervisor has to inject comes at the latest when it enters the guest again. */
static void take(void)
{
	u32 a = 0, b, c = 0, d;

	taken_count = 0;
	sti();
	for (u32 i = 0; i < 4; i++)
		__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d) : : "memory");
	cli();
}

static bool any(u32 bank)
{
	for (u32 word = 0; word < APIC_VECTOR_WORDS; word++)
		if (*apic_register(bank + word * 16))
			return true;
	return false;
}

static void normalise(void)
{
	u64 base = rdmsr(MSR_APIC_BASE);

	if (base & APIC_BASE_EXTD)
		wrmsr(MSR_APIC_BASE, APIC_DEFAULT_BASE | APIC_BASE_BSP);
	wrmsr(MSR_APIC_BASE, APIC_DEFAULT_BASE | APIC_BASE_BSP | APIC_BASE_EN);
	*apic_register(APIC_LVT_TIMER) = APIC_LVT_MASKED;
	*apic_register(APIC_TIMER_INITIAL) = 0;
	*apic_register(APIC_TIMER_DIVIDE) = DIVIDE_BY_128; /* a count of the list lasts for minutes */
	for (u32 reg = APIC_LVT_TIMER; reg <= APIC_LVT_ERROR; reg += 16)
		*apic_register(reg) = APIC_LVT_MASKED;
	/* KVM looks for what is requested when the priority falls, not when the APIC is enabled. */
	*apic_register(APIC_TPR) = 0xFF;
	*apic_register(APIC_TPR) = 0;
	*apic_register(APIC_SPIV) = 0x1FF;
	for (u32 round = 0; round < ROUNDS && (any(APIC_ISR) || any(APIC_IRR)); round++) {
		*apic_register(APIC_EOI) = 0;
		take();
	}
	*apic_register(APIC_ID) = 0;
	*apic_register(APIC_LDR) = 0;
	*apic_register(APIC_DFR) = ~0u;
	*apic_register(APIC_ICR2) = 0;
	*apic_register(APIC_ICR) = HARMLESS_IPI;
	*apic_register(APIC_ESR) = 0;
	*apic_register(APIC_ESR) = 0;
}

static void print_taken(void)
{
	for (u32 i = 0; i < taken_count; i++) {
		if (i)
			print(",");
		print_hex(taken[i]);
	}
	if (!taken_count)
		print("-");
}

static void answer_read(bool done, u64 value, bool only_nonzero)
{
	if (!done)
		print("!");
	else
		print_hex(only_nonzero ? value != 0 : value);
}

static void carry_out(const struct operation *operation)
{
	u64 address = (u64)operation->page * PAGE_SIZE + operation->number;
	u64 value = operation->value;
	bool done;

	switch (operation->kind) {
	case READ_MSR:
	case READ_MSR_NONZERO:
		done = msr_in(operation->number, &value);
		answer_read(done, value, operation->kind == READ_MSR_NONZERO);
		return;
	case READ_MMIO:
	case READ_MMIO_NONZERO:
		answer_read(true, mmio_in(address, operation->size), operation->kind == READ_MMIO_NONZERO);
		return;
	case READ_MMIO_ANY:
		mmio_in(address, operation->size);
		done = true;
		break;
	case READ_CR8:
		print_hex(read_cr8());
		return;
	case TAKE:
		take();
		print_taken();
		return;
	case WRITE_MSR:
		done = msr_out(operation->number, value);
		break;
	case WRITE_DEADLINE:
		done = msr_out(MSR_TSC_DEADLINE, value ? rdtsc() + BIT(FAR_TICKS_SHIFT) : 0);
		break;
	case WRITE_MMIO:
		mmio_out(address, operation->size, value);
		done = true;
		break;
	case WRITE_CR8:
		done = TRY("mov %[value], %%cr8", OUT(), [value] "r"(value)) == NO_TRAP;
		break;
	case NORMALISE:
		normalise();
		done = true;
		break;
	default:
		print("?");
		return;
	}
	print(done ? "." : "!");
}

void unexpected_exception(u64 vector, u64 error, u64 rip)
{
	print("exception ");
	print_hex(vector);
	print(" ");
	print_hex(error);
	print(" ");
	print_hex(rip);
	print("\n");
}

static void tell_facts(void)
{
	u32 a = 1, b, c = 0, d, address = 0x80000008;

	__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	print("facts ");
	print_hex(c >> 21 & 1); /* x2APIC */
	print(" ");
	print_hex(c >> 24 & 1); /* TSC deadline */
	print(" ");
	c = 0;
	__asm__ volatile("cpuid" : "+a"(address), "=b"(b), "+c"(c), "=d"(d));
	print_hex(address & 0xFF); /* physical address bits */
	print("\n");
}

static void run(void)
{
	const struct operation *list = (const struct operation *)OPERATIONS_FLASH;
	u32 count = ((const volatile struct parameters *)PARAMETERS)->count;

	for (u32 i = 0; i < count && i < OPERATIONS_MAX; i++) {
		struct operation operation = list[i];
		u64 nmis;

		carry_out(&operation);
		nmis = interrupts[VECTOR_NMI] - nmis_told;
		nmis_told += nmis;
		if (nmis) {
			print("n");
			print_hex(nmis);
		}
		print("\n");
	}
}

void guest_main(void)
{
	const struct __attribute__((packed)) { u16 limit; u64 base; } nothing = { 0, 0 };

	traps_setup();
	on_interrupt = took;
	io_out(0x21, 1, 0xFF);
	io_out(0xA1, 1, 0xFF);
	tell_facts();
	protect(run);
	print("end\n");
	for (;;)
		__asm__ volatile("lidt %0; ud2" : : "m"(nothing));
}
