/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Executes operations on the local APIC, one by one, and prints a line for each:
 *   a value in hexadecimal   the result of a read
 *   .                        a write that was accepted
 *   !                        #GP
 *   41, or -                 the vectors that arrived while interrupts were on, or none
 * A line ends with "n" and a number if NMIs arrived since the line before.
 */
#include "apic_access.h"
#include "cpu.h"
#include "io.h"
#include "operations.h"
#include "serial.h"
#include "start.h"
#include "trap.h"

#define FAR_TICKS_SHIFT 40 /* TSC ticks of several minutes */
#define DIVIDE_BY_128   0xA
#define ROUNDS          300
#define HARMLESS_IPI    (APIC_SHORTHAND_OTHERS | APIC_ICR_ASSERT | 0x20)

static const struct parameters initial __attribute__((used, section(".parameters"))) = { .magic = PARAMETERS_MAGIC };

static u8 taken[64];
static u32 taken_count;
static u64 nmis_printed;

static void took(u8 vector)
{
	if (vector != VECTOR_NMI && taken_count < sizeof(taken))
		taken[taken_count++] = vector;
}

/* A hypervisor injects what is pending when it enters the guest again, at the latest. */
static void take(void)
{
	taken_count = 0;
	sti();
	for (u32 i = 0; i < 4; i++)
		cpuid(0, 0);
	cli();
}

static bool any(u32 bank)
{
	for (u32 word = 0; word < APIC_VECTOR_WORDS; word++)
		if (apic_read(bank + word * 16))
			return true;
	return false;
}

static void normalise(void)
{
	if (apic_is_x2())
		msr_out(MSR_APIC_BASE, BASE(0));
	msr_out(MSR_APIC_BASE, BASE(APIC_BASE_EN)); /* the operations before may have moved the page */
	apic_write(APIC_LVT_TIMER, APIC_LVT_MASKED);
	apic_write(APIC_TIMER_INITIAL, 0);
	apic_write(APIC_TIMER_DIVIDE, DIVIDE_BY_128); /* a count of the list lasts for minutes */
	for (u32 reg = APIC_LVT_TIMER; reg <= APIC_LVT_ERROR; reg += 16)
		apic_write(reg, APIC_LVT_MASKED);
	/* KVM checks for pending requests when the priority falls, not when the APIC is enabled. */
	apic_write(APIC_TPR, 0xFF);
	apic_write(APIC_TPR, 0);
	apic_write(APIC_SPIV, 0x1FF);
	for (u32 round = 0; round < ROUNDS && (any(APIC_ISR) || any(APIC_IRR)); round++) {
		apic_write(APIC_EOI, 0);
		take();
	}
	apic_write(APIC_ID, 0);
	apic_write(APIC_LDR, 0);
	apic_write(APIC_DFR, ~0u);
	apic_write(APIC_ICR2, 0);
	apic_write(APIC_ICR, HARMLESS_IPI);
	apic_write(APIC_ESR, 0);
	apic_write(APIC_ESR, 0);
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

static void print_read(bool done, u64 value, bool only_nonzero)
{
	if (!done)
		print("!");
	else
		print_hex(only_nonzero ? value != 0 : value);
}

static void execute(const struct operation *operation)
{
	u64 address = (u64)operation->page * PAGE_SIZE + operation->number;
	u64 value = operation->value;
	bool done;

	switch (operation->kind) {
	case READ_MSR:
	case READ_MSR_NONZERO:
		done = msr_in(operation->number, &value);
		print_read(done, value, operation->kind == READ_MSR_NONZERO);
		return;
	case READ_MMIO:
	case READ_MMIO_NONZERO:
		print_read(true, mmio_in(address, operation->size), operation->kind == READ_MMIO_NONZERO);
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

static void unexpected_exception(u64 vector, u64 error, u64 rip)
{
	print("exception ");
	print_hex(vector);
	print(" ");
	print_hex(error);
	print(" ");
	print_hex(rip);
	print("\n");
}

static void print_facts(void)
{
	u32 features = cpuid(1, 0).ecx;

	print("facts ");
	print_hex(features >> 21 & 1); /* x2APIC */
	print(" ");
	print_hex(features >> 24 & 1); /* TSC deadline */
	print(" ");
	print_hex(cpuid(0x80000008, 0).eax & 0xFF); /* physical address bits */
	print("\n");
}

static void run(u64 count)
{
	const struct operation *list = (const struct operation *)OPERATIONS_FLASH;

	for (u64 i = 0; i < count && i < OPERATIONS_MAX; i++) {
		struct operation operation = list[i];
		u64 nmis;

		execute(&operation);
		nmis = interrupts[VECTOR_NMI] - nmis_printed;
		nmis_printed += nmis;
		if (nmis) {
			print("n");
			print_hex(nmis);
		}
		print("\n");
	}
}

static void guest_main(void)
{
	static const struct trap_hooks trap_hooks = { .unexpected = unexpected_exception };

	traps_setup(&trap_hooks);
	on_interrupt = took;
	pic_mask_all();
	print_facts();
	protect(run, ((const volatile struct parameters *)PARAMETERS)->count);
	print("end\n");
	triple_fault();
}

GUEST_HOOKS = { .main = guest_main };
