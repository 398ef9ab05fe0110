/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Executes operations on the local APIC, one by one, and prints a line for each:
 *   a value in hexadecimal   the result of a read
 *   .                        a write that was accepted
 *   !                        #GP
 *   41, or -                 the vectors that arrived while interrupts were on, or none
 * A line ends with "n" and a number if NMIs arrived since the line before.
 */
#include "ap.h"
#include "apic_access.h"
#include "cpu.h"
#include "io.h"
#include "operations.h"
#include "serial.h"
#include "start.h"
#include "svm.h"
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

/* Single steps. */
#define VECTOR_DB 1
#define DR6_CLEAR 0xFFFF0FF0ull

static volatile u64 steps, step_at;
static volatile bool stepping;

static bool stepped(struct trap_frame *frame)
{
	if (frame->vector != VECTOR_DB || !stepping)
		return false;
	if (!steps++)
		step_at = frame->rip;
	frame->rflags &= ~(u64)RFLAGS_TF;
	return true;
}

#define STEP_OVER(instruction, ...)                                                                             \
	({                                                                                                      \
		u64 end_;                                                                                       \
		__asm__ volatile("lea 1f(%%rip), %0; pushfq; orq $0x100, (%%rsp); popfq\n\t" instruction "\n1: nop; nop" \
				 : "=&S"(end_) : __VA_ARGS__ : "memory", "cc", "rbx", "r11");                   \
		end_;                                                                                           \
	})

static u64 step_over(u32 number)
{
	switch (number) {
	case 0: { u32 a = 0, c = 0; return STEP_OVER("nop", "a"(a), "c"(c)); }
	case 1: return STEP_OVER("push %%rax; pop %%rax", "a"(0)); /* two of them */
	case 2: { u64 end; __asm__ volatile("lea 1f(%%rip), %0; pushfq; orq $0x100, (%%rsp); popfq; cpuid; 1: nop; nop"
					    : "=&S"(end) : "a"(0), "c"(0) : "memory", "cc", "rbx", "rdx"); return end; }
	case 3: return STEP_OVER("rdmsr", "c"(MSR_APIC_BASE), "a"(0), "d"(0));
	case 4: return STEP_OVER("wrmsr", "c"(MSR_APIC_BASE), "a"(BASE(APIC_BASE_EN)), "d"(0));
	case 5: return STEP_OVER("movl (%%rax), %%eax", "a"(APIC_DEFAULT_BASE + APIC_ID));
	case 6: return STEP_OVER("movl %%ecx, (%%rax)", "a"(APIC_DEFAULT_BASE + APIC_TPR), "c"(0));
	case 7: return STEP_OVER("inb $0x80, %%al", "a"(0));
	case 8: return STEP_OVER("outb %%al, $0x80", "a"(0));
	case 9: return STEP_OVER("rdtsc", "a"(0), "d"(0));
	default: return STEP_OVER("mov %%cr8, %%rax", "a"(0));
	}
}

static void print_pair(u64 first, u64 second)
{
	print_hex(first);
	print(",");
	print_hex(second);
}

static void step(u32 number)
{
	u64 end, dr6;

	__asm__ volatile("mov %0, %%db6" : : "r"(DR6_CLEAR));
	steps = step_at = 0;
	stepping = true;
	end = step_over(number);
	stepping = false;
	__asm__ volatile("mov %%db6, %0" : "=r"(dr6));
	print_pair(steps, step_at - end);
	print(dr6 & DR6_BS ? ",1" : ",0");
}

static void sti_shadow(u8 vector)
{
	u64 seen, before = interrupts[vector];

	apic_write(APIC_ICR, APIC_SHORTHAND_SELF | APIC_ICR_ASSERT | vector);
	__asm__ volatile("sti; mov %1, %0; nop; cli" : "=r"(seen) : "m"(interrupts[vector]) : "memory");
	seen -= before;
	take();
	print_pair(seen, interrupts[vector] - before);
}

static volatile u64 nmis_left, nmi_depth, nmi_deepest;

static void nest(u8 vector)
{
	if (vector != VECTOR_NMI)
		return;
	if (++nmi_depth > nmi_deepest)
		nmi_deepest = nmi_depth;
	while (nmis_left) {
		nmis_left--;
		apic_write(APIC_ICR, APIC_DELIVER_NMI << APIC_ICR_DELIVERY_SHIFT | APIC_ICR_ASSERT);
		cpuid(0, 0);
	}
	nmi_depth--;
}

static void nested_nmis(u64 count)
{
	u64 before = interrupts[VECTOR_NMI];

	on_interrupt = nest;
	nmis_left = count;
	nmi_deepest = 0;
	apic_write(APIC_ICR, APIC_DELIVER_NMI << APIC_ICR_DELIVERY_SHIFT | APIC_ICR_ASSERT);
	for (u32 i = 0; i < 8; i++)
		cpuid(0, 0);
	on_interrupt = took;
	print_pair(interrupts[VECTOR_NMI] - before, nmi_deepest);
	nmis_printed = interrupts[VECTOR_NMI];
}

#define TSC_NEAR BIT(36) /* what a slow machine may need */

static void move_tsc(u64 by)
{
	u64 written = rdtsc() + by, read = 0, tsc;
	bool done = msr_out(MSR_TSC, written);

	done = msr_in(MSR_TSC, &read) && done;
	tsc = rdtsc();
	msr_out(MSR_TSC, rdtsc() - by);
	print_pair(done, read - written < TSC_NEAR);
	print(tsc - written < TSC_NEAR ? ",1" : ",0");
}

static void timer_expiry(u8 vector, u32 ticks)
{
	apic_write(APIC_TIMER_DIVIDE, 0xB);
	apic_write(APIC_LVT_TIMER, vector);
	apic_write(APIC_TIMER_INITIAL, ticks);
	for (u32 i = 0; i < 1000000 && !any(APIC_IRR); i++)
		pause();
	take();
	print_taken();
	print(",");
	print_hex(apic_read(APIC_TIMER_CURRENT));
}

static void reserved_cr4(u32 bit)
{
	u64 cr4, vector;

	__asm__ volatile("mov %%cr4, %0" : "=r"(cr4));
	vector = TRY("mov %%rax, %%cr4", OUT(), "a"(cr4 | BIT(bit)));
	if (vector == NO_TRAP)
		print(".");
	else
		print_pair(vector, trap.rip == trap.start);
	__asm__ volatile("mov %0, %%cr4" : : "r"(cr4));
}

/*
 * IPIs between vCPUs. A hypervisor has made an IPI pending when the sender's write ends. A vCPU with interrupts on has handled
 * it when it has made another exit and has returned from that one.
 */
#define IPI_WAKE  0x31 /* ends the HLT of those who were not addressed */
#define EXITS     4
#define AP_STARTS 10   /* a busy machine is slow */

static struct ipi {
	u64 icr;
	u32 flags;
} ipi;
static volatile u64 ipi_handled[IPI_VCPUS][256], ipi_exits[IPI_VCPUS];
static volatile bool ipi_ready[IPI_VCPUS], ipi_sent;

static u64 ipi_sender(void) { return ipi.flags >> IPI_SENDER_SHIFT & 3; }
static bool ipi_x2(void) { return ipi.flags & IPI_X2APIC; }

static void ipi_write(u32 reg, u64 value)
{
	if (ipi_x2())
		wrmsr(X2(reg), value);
	else
		*(volatile u32 *)(APIC_DEFAULT_BASE + reg) = (u32)value;
}

static void ipi_write_icr(u64 icr)
{
	if (!ipi_x2())
		ipi_write(APIC_ICR2, icr >> 32);
	ipi_write(APIC_ICR, icr);
}

static void ipi_note(u8 vector)
{
	ipi_handled[ap_self()][vector]++;
	if (vector != VECTOR_NMI)
		ipi_write(APIC_EOI, 0);
}

static void ipi_prepare(u64 self)
{
	u64 base = rdmsr(MSR_APIC_BASE) & ~(u64)MODE_BITS;

	if ((rdmsr(MSR_APIC_BASE) & MODE_BITS) == MODE_BITS && !ipi_x2())
		wrmsr(MSR_APIC_BASE, base);
	wrmsr(MSR_APIC_BASE, base | (ipi_x2() ? (u64)MODE_BITS : APIC_BASE_EN));
	ipi_write(APIC_SPIV, APIC_SPIV_ENABLE | APIC_SPIV_VECTOR);
	if (!ipi_x2()) {
		ipi_write(APIC_DFR, ~0u);
		ipi_write(APIC_LDR, BIT(self) << APIC_ID_SHIFT);
	}
	ipi_write(APIC_TPR, (ipi.flags >> IPI_TPR_SHIFT & 0xF) << 4);
	for (u32 vector = 0; vector < 256; vector++)
		ipi_handled[self][vector] = 0;
}

static void ipi_exit_some(u64 self)
{
	for (u32 i = 0; i < EXITS; i++) {
		cpuid(0, 0);
		ipi_exits[self]++;
	}
}

static void ipi_take(u64 self)
{
	ipi_prepare(self);
	ipi_ready[self] = true;
	if (ipi.flags & IPI_HALT)
		__asm__ volatile("sti; hlt" : : : "memory");
	sti();
	while (!ipi_sent)
		ipi_exit_some(self);
	ipi_write(APIC_TPR, 0);
	ipi_exit_some(self);
	cli();
}

static u64 ipi_seen; /* who had handled it before TPR was 0 */

static u64 ipi_handlers(u8 vector)
{
	u64 mask = 0;

	for (u64 i = 0; i < IPI_VCPUS; i++)
		mask |= ipi_handled[i][vector] ? BIT(i) : 0;
	return mask;
}

static void ipi_send(u64 self)
{
	ipi_prepare(self);
	ipi_ready[self] = true;
	for (u64 i = 0; i < IPI_VCPUS; i++) {
		while (!ipi_ready[i])
			cpuid(0, 0);
	}
	if (ipi.flags & IPI_SELF)
		ipi_write(APIC_SELF_IPI, ipi.icr);
	else
		ipi_write_icr(ipi.icr);
	sti();
	ipi_exit_some(self);
	if (ipi.flags & IPI_HALT)
		ipi_write_icr(APIC_SHORTHAND_OTHERS | APIC_ICR_ASSERT | IPI_WAKE);
	for (u64 i = 0; i < IPI_VCPUS; i++) {
		u64 exits = ipi_exits[i];

		while (i != self && ipi_exits[i] < exits + EXITS)
			pause();
	}
	ipi_seen = ipi_handlers((u8)ipi.icr);
	ipi_sent = true;
	ipi_write(APIC_TPR, 0);
	ipi_exit_some(self);
	cli();
}

static void ipi_role(u64 self)
{
	if (self == ipi_sender())
		ipi_send(self);
	else
		ipi_take(self);
}

static void ipi_role_of_ap(struct ap *ap) { ipi_role(ap->index); }

static void print_handlers(u64 mask)
{
	u64 number = 0;

	for (u64 i = 0; i < IPI_VCPUS; i++)
		number += mask >> i & 1;
	print_hex(ipi.flags & IPI_LOWEST ? number : mask);
	print(",");
}

static bool aps_are_there(void)
{
	for (u32 i = 0; i < AP_STARTS; i++) {
		if (ap_start_others(IPI_VCPUS))
			return true;
	}
	return false;
}

static void ipi_between_vcpus(u32 flags, u64 icr)
{
	u8 vector = (u8)icr;
	u64 total = 0;

	if (!aps_are_there()) {
		print("no APs");
		return;
	}
	ipi = (struct ipi){ .icr = icr, .flags = flags };
	ipi_sent = false;
	for (u64 i = 0; i < IPI_VCPUS; i++)
		ipi_ready[i] = false;
	on_interrupt = ipi_note;
	for (u64 i = 1; i < IPI_VCPUS; i++)
		ap_command(i, ipi_role_of_ap);
	ipi_role(0);
	for (u64 i = 1; i < IPI_VCPUS; i++) {
		while (!ap_wait(i))
			;
	}
	on_interrupt = took;
	for (u64 i = 0; i < IPI_VCPUS; i++)
		total += ipi_handled[i][vector] + ipi_handled[i][VECTOR_NMI];
	print_handlers(ipi_seen);
	print_handlers(ipi_handlers(vector));
	print_handlers(ipi_handlers(VECTOR_NMI));
	print_hex(total);
	nmis_printed = interrupts[VECTOR_NMI];
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
	case STEP:
		step(operation->number);
		return;
	case STI_SHADOW:
		sti_shadow((u8)operation->number);
		return;
	case NESTED_NMIS:
		nested_nmis(value);
		return;
	case TSC:
		move_tsc(value);
		return;
	case TIMER_EXPIRY:
		timer_expiry((u8)operation->number, (u32)value);
		return;
	case RESERVED_CR4:
		reserved_cr4(operation->number);
		return;
	case IPI:
		ipi_between_vcpus(operation->number, value);
		return;
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
	static const struct trap_hooks trap_hooks = { .exception = stepped, .unexpected = unexpected_exception };

	traps_setup(&trap_hooks);
	on_interrupt = took;
	pic_mask_all();
	print_facts();
	protect(run, ((const volatile struct parameters *)PARAMETERS)->count);
	print("end\n");
	triple_fault();
}

GUEST_HOOKS = { .main = guest_main };
