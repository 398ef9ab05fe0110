/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Interrupts of the APIC itself and of the I/O APIC must arrive as often as they were raised. */
#include "apic_access.h"
#include "guest.h"
#include "hpet.h"
#include "svm.h"

#define VECTOR 0x51
#define MS     1000000 /* in ticks of the undivided APIC timer */
#define PATIENCE_MS 1000

static void end_interrupt(u8 vector)
{
	(void)vector;
	apic_write(APIC_EOI, 0);
}

static void prepare(u64 mode)
{
	pic_mask_all();
	apic_prepare(mode);
	apic_write(APIC_TIMER_DIVIDE, 0xB);
	on_interrupt = end_interrupt;
}

/* With SEV the hypervisor holds NMIs back until this event. The interrupted code may be using the GHCB. */
static void complete_nmi(void)
{
	static u64 saved[PAGE_SIZE / 8];

	if (!sev())
		return;
	for (u32 i = 0; i < PAGE_SIZE / 8; i++)
		saved[i] = ((volatile a64 *)GHCB_PAGE)[i];
	nae(NAE_NMI_COMPLETE, 0, 0);
	for (u32 i = 0; i < PAGE_SIZE / 8; i++)
		((volatile a64 *)GHCB_PAGE)[i] = saved[i];
}

static void end_nmi(u8 vector)
{
	if (vector == VECTOR_NMI)
		complete_nmi();
}

static u32 vector_bit(u32 base, u8 vector) { return (u32)apic_read(base + vector / 32 * 16) >> vector % 32 & 1; }

/* Long enough for an interrupt that must not arrive. */
static void let_pass(void) { wait_ms(3); }

static void one_shot(u64 mode)
{
	prepare(mode);
	apic_write(APIC_LVT_TIMER, VECTOR);
	apic_write(APIC_TIMER_INITIAL, MS);
	CHECK(wait_until(&interrupts[VECTOR], 1, PATIENCE_MS));
	let_pass();
	EQUAL(interrupts[VECTOR], 1);
	EQUAL(apic_read(APIC_TIMER_CURRENT), 0);
}

TEST(timer_one_shot_xapic, ALL) { one_shot(APIC_BASE_EN); }
TEST(timer_one_shot_x2apic, ALL) { one_shot(MODE_BITS); }

TEST(timer_periodic, ALL)
{
	prepare(APIC_BASE_EN);
	apic_write(APIC_LVT_TIMER, VECTOR | APIC_TIMER_PERIODIC);
	apic_write(APIC_TIMER_INITIAL, MS);
	CHECK(wait_until(&interrupts[VECTOR], 5, PATIENCE_MS));
	apic_write(APIC_LVT_TIMER, VECTOR | APIC_TIMER_PERIODIC | APIC_LVT_MASKED);
	let_pass();
	interrupts[VECTOR] = 0;
	let_pass();
	EQUAL(interrupts[VECTOR], 0);
}

TEST(timer_tsc_deadline, ALL)
{
	u64 value;

	prepare(MODE_BITS);
	apic_write(APIC_LVT_TIMER, VECTOR | APIC_TIMER_TSC_DEADLINE);
	CHECK(msr_out(MSR_TSC_DEADLINE, rdtsc() + 1000000));
	CHECK(wait_until(&interrupts[VECTOR], 1, PATIENCE_MS));
	CHECK(msr_in(MSR_TSC_DEADLINE, &value));
	EQUAL(value, 0);
	CHECK(msr_out(MSR_TSC_DEADLINE, 1)); /* in the past: at once */
	CHECK(wait_until(&interrupts[VECTOR], 2, PATIENCE_MS));
	CHECK(msr_out(MSR_TSC_DEADLINE, ~0ull >> 1)); /* in centuries */
	let_pass();
	EQUAL(interrupts[VECTOR], 2);
	CHECK(msr_out(MSR_TSC_DEADLINE, 0));
}

#define TSC_FORWARD (1ull << 40)

/* MSR 10: a write moves what RDTSC reads, and the TSC deadline with it. */
TEST(tsc_msr_keeps_what_is_written, ALL)
{
	u64 before, value, after, now;

	before = rdtsc();
	CHECK(msr_in(MSR_TSC, &value));
	after = rdtsc();
	CHECK(before <= value && value <= after);

	prepare(MODE_BITS);
	apic_write(APIC_LVT_TIMER, VECTOR | APIC_TIMER_TSC_DEADLINE);
	CHECK(msr_out(MSR_TSC, rdtsc() + TSC_FORWARD));
	now = rdtsc();
	CHECK(msr_in(MSR_TSC, &value));
	CHECK(msr_out(MSR_TSC_DEADLINE, now + 1000000));
	before = interrupts[VECTOR];
	wait_until(&interrupts[VECTOR], 1, PATIENCE_MS);
	CHECK(msr_out(MSR_TSC, rdtsc() - TSC_FORWARD));
	CHECK(now > after + TSC_FORWARD - 1000 && now < after + TSC_FORWARD + clock_ticks(1000000));
	CHECK(value >= now && value < now + clock_ticks(1000000));
	EQUAL(before, 0);
	EQUAL(interrupts[VECTOR], 1);
	now = rdtsc();
	CHECK(now > after && now < after + clock_ticks(2000000));
}

TEST(timer_masked, ALL)
{
	prepare(APIC_BASE_EN);
	apic_write(APIC_LVT_TIMER, VECTOR | APIC_LVT_MASKED);
	apic_write(APIC_TIMER_INITIAL, 1000);
	let_pass();
	EQUAL(interrupts[VECTOR], 0);
}

TEST(hlt_wakes_up, ALL)
{
	prepare(APIC_BASE_EN);
	for (u32 i = 1; i <= 5; i++) {
		apic_write(APIC_LVT_TIMER, VECTOR);
		apic_write(APIC_TIMER_INITIAL, MS);
		halt_once();
		EQUAL(interrupts[VECTOR], i);
	}
}

TEST(interrupt_waits_for_if, ALL)
{
	prepare(APIC_BASE_EN);
	apic_write(APIC_ICR, APIC_SHORTHAND_SELF | VECTOR);
	EQUAL(vector_bit(APIC_IRR, VECTOR), 1);
	EQUAL(interrupts[VECTOR], 0);
	__asm__ volatile("sti; nop; nop; cli" : : : "memory");
	EQUAL(interrupts[VECTOR], 1);
	EQUAL(vector_bit(APIC_IRR, VECTOR), 0);
	EQUAL(vector_bit(APIC_ISR, VECTOR), 0); /* ended */
}

TEST(interrupt_waits_for_the_sti_shadow, ALL)
{
	u64 seen;

	prepare(APIC_BASE_EN);
	apic_write(APIC_ICR, APIC_SHORTHAND_SELF | VECTOR);
	__asm__ volatile("sti; mov %1, %0; nop; cli" : "=r"(seen) : "m"(interrupts[VECTOR]) : "memory");
	EQUAL(seen, 0);
	EQUAL(interrupts[VECTOR], 1);
}

TEST(self_ipi_x2apic, ALL)
{
	prepare(MODE_BITS);
	apic_write(APIC_SELF_IPI, VECTOR);
	CHECK(wait_until(&interrupts[VECTOR], 1, PATIENCE_MS));
	apic_write(APIC_ICR, VECTOR); /* physical destination 0: itself */
	CHECK(wait_until(&interrupts[VECTOR], 2, PATIENCE_MS));
	apic_write(APIC_ICR, 5ull << 32 | VECTOR); /* no APIC has this ID */
	apic_write(APIC_ICR, APIC_SHORTHAND_OTHERS | VECTOR);
	let_pass();
	EQUAL(interrupts[VECTOR], 2);
	apic_write(APIC_ICR, APIC_SHORTHAND_ALL | VECTOR);
	CHECK(wait_until(&interrupts[VECTOR], 3, PATIENCE_MS));
}

TEST(ipi_xapic_destinations, ALL)
{
	prepare(APIC_BASE_EN);
	apic_write(APIC_LDR, 0x04000000);
	apic_write(APIC_ICR2, 0x06000000);
	apic_write(APIC_ICR, APIC_ICR_LOGICAL | VECTOR);
	CHECK(wait_until(&interrupts[VECTOR], 1, PATIENCE_MS));
	apic_write(APIC_ICR2, 0x03000000);
	apic_write(APIC_ICR, APIC_ICR_LOGICAL | VECTOR);
	let_pass();
	EQUAL(interrupts[VECTOR], 1);
	apic_write(APIC_ICR2, 0xFF000000); /* broadcast */
	apic_write(APIC_ICR, VECTOR);
	CHECK(wait_until(&interrupts[VECTOR], 2, PATIENCE_MS));
	apic_write(APIC_ICR2, 0);
	apic_write(APIC_LDR, 0);
}

static void two_priorities(bool by_cr8)
{
	prepare(APIC_BASE_EN);
	if (by_cr8)
		write_cr8(5);
	else
		apic_write(APIC_TPR, 0x50);
	apic_write(APIC_ICR, APIC_SHORTHAND_SELF | VECTOR);
	apic_write(APIC_ICR, APIC_SHORTHAND_SELF | (VECTOR + 0x10));
	let_pass();
	EQUAL(interrupts[VECTOR], 0);
	EQUAL(interrupts[VECTOR + 0x10], 1);
	EQUAL(vector_bit(APIC_IRR, VECTOR), 1);
	__asm__ volatile("sti" : : : "memory");
	if (by_cr8)
		__asm__ volatile("mov %0, %%cr8; nop" : : "r"(4ull) : "memory");
	else
		apic_write(APIC_TPR, 0x4F);
	__asm__ volatile("nop; cli" : : : "memory");
	EQUAL(interrupts[VECTOR], 1);
	apic_write(APIC_TPR, 0);
}

TEST(tpr_by_cr8_holds_back, ALL) { two_priorities(true); }
TEST(tpr_by_register_holds_back, ALL) { two_priorities(false); }

static u64 order[4];
static u32 ordered;

static void note_order(u8 vector)
{
	order[ordered++ & 3] = vector;
	apic_write(APIC_EOI, 0);
}

TEST(highest_priority_first, ALL)
{
	prepare(APIC_BASE_EN);
	on_interrupt = note_order;
	ordered = 0;
	apic_write(APIC_ICR, APIC_SHORTHAND_SELF | 0x41);
	apic_write(APIC_ICR, APIC_SHORTHAND_SELF | 0xA1);
	apic_write(APIC_ICR, APIC_SHORTHAND_SELF | 0x71);
	let_pass();
	EQUAL(ordered, 3);
	EQUAL(order[0], 0xA1);
	EQUAL(order[1], 0x71);
	EQUAL(order[2], 0x41);
}

TEST(interrupt_in_service_holds_back, ALL)
{
	prepare(APIC_BASE_EN);
	on_interrupt = NULL;
	apic_write(APIC_ICR, APIC_SHORTHAND_SELF | 0x71);
	CHECK(wait_until(&interrupts[0x71], 1, PATIENCE_MS));
	EQUAL(vector_bit(APIC_ISR, 0x71), 1);
	EQUAL(apic_read(APIC_PPR), 0x70);
	apic_write(APIC_ICR, APIC_SHORTHAND_SELF | 0x41);
	let_pass();
	EQUAL(interrupts[0x41], 0);
	apic_write(APIC_EOI, 0);
	CHECK(wait_until(&interrupts[0x41], 1, PATIENCE_MS));
	apic_write(APIC_EOI, 0);
}

static void send_nmi(void) { apic_write(APIC_ICR, APIC_DELIVER_NMI << APIC_ICR_DELIVERY_SHIFT); }

TEST(nmi_to_itself, ALL)
{
	prepare(MODE_BITS);
	on_interrupt = end_nmi;
	interrupts[VECTOR_NMI] = 0;
	apic_write(APIC_ICR, APIC_SHORTHAND_ALL | APIC_DELIVER_NMI << APIC_ICR_DELIVERY_SHIFT);
	delay_us(100);
	EQUAL(interrupts[VECTOR_NMI], 1); /* without IF */
	send_nmi();
	delay_us(100);
	EQUAL(interrupts[VECTOR_NMI], 2);
}

static u32 depth, deepest;

/* The first one sends three more. */
static void send_nmis(u8 vector)
{
	if (++depth > deepest)
		deepest = depth;
	if (interrupts[vector] == 1) {
		for (u32 i = 0; i < 3; i++) {
			send_nmi();
			delay_us(20);
		}
	}
	depth--;
}

/* An NMI handler is not interrupted by an NMI: one waits until its IRET, or with SEV until the NMI complete event. */
TEST(nmi_in_an_nmi_handler, ALL)
{
	prepare(MODE_BITS);
	on_interrupt = send_nmis;
	interrupts[VECTOR_NMI] = deepest = 0;
	send_nmi();
	delay_us(200);
	EQUAL(deepest, 1);
	if (sev()) {
		EQUAL(interrupts[VECTOR_NMI], 1);
		EQUAL(nae(NAE_NMI_COMPLETE, 0, 0), NAE_RESULT_OK);
	}
	EQUAL(interrupts[VECTOR_NMI], 2);
	complete_nmi();
	delay_us(200);
	EQUAL(interrupts[VECTOR_NMI], 2);
	for (u64 i = 3; i < 20; i++) { /* and the next ones come */
		send_nmi();
		EQUAL(interrupts[VECTOR_NMI], i);
		complete_nmi();
	}
	EQUAL(deepest, 1);
}

/* The instruction after STI, which nothing may interrupt. */
extern const u8 after_sti[], hlt_after_sti[];
static u64 in_shadow;

static __attribute__((noinline)) void sti_and_nop(void)
{
	__asm__ volatile("sti\n.globl after_sti\nafter_sti: nop; nop; cli" : : : "memory");
}

static __attribute__((noinline)) void sti_and_hlt(void)
{
	__asm__ volatile("sti\n.globl hlt_after_sti\nhlt_after_sti: hlt; cli" : : : "memory");
}

static void note_shadow(u8 vector)
{
	in_shadow += interrupted_at == (u64)after_sti || interrupted_at == (u64)hlt_after_sti;
	if (vector == VECTOR_NMI)
		complete_nmi();
	else
		apic_write(APIC_EOI, 0);
}

static void periodic_timer(u32 ns)
{
	apic_write(APIC_LVT_TIMER, VECTOR | APIC_TIMER_PERIODIC);
	apic_write(APIC_TIMER_INITIAL, ns);
}

static void stop_timer(void)
{
	apic_write(APIC_LVT_TIMER, APIC_LVT_MASKED);
	apic_write(APIC_TIMER_INITIAL, 0);
}

static void in_the_shadow(void (*instructions)(void), u32 ns)
{
	struct stopwatch watch = stopwatch_start(1000);

	prepare(MODE_BITS);
	on_interrupt = note_shadow;
	in_shadow = interrupts[VECTOR] = 0;
	periodic_timer(ns);
	while (interrupts[VECTOR] < 300 && stopwatch_passed(&watch) < clock_ticks(PATIENCE_MS * 1000))
		instructions();
	stop_timer();
	let_pass(); /* one may be requested already */
	CHECK(interrupts[VECTOR] >= 300);
	EQUAL(in_shadow, 0);
}

TEST(timer_interrupts_wait_for_the_sti_shadow, ALL) { in_the_shadow(sti_and_nop, 100000); }
TEST(timer_interrupts_do_not_come_between_sti_and_hlt, ALL) { in_the_shadow(sti_and_hlt, 70000); }

/* The I/O APIC. */
TEST(ioapic_edge, ALL)
{
	bool came;

	prepare(APIC_BASE_EN);
	hpet_route(VECTOR);
	hpet_after_1_ms(HPET_ENABLE);
	came = wait_until(&interrupts[VECTOR], 1, PATIENCE_MS);
	let_pass();
	hpet_off();
	CHECK(came);
	EQUAL(interrupts[VECTOR], 1);
}

/* The device is served before the EOI, so that one interrupt arrives. */
static void serve_hpet(u8 vector)
{
	(void)vector;
	hpet_served();
	apic_write(APIC_EOI, 0);
}

TEST(ioapic_nmi, ALL)
{
	u64 first;
	bool came;

	prepare(APIC_BASE_EN);
	on_interrupt = end_nmi;
	interrupts[VECTOR_NMI] = 0;
	hpet_route(APIC_DELIVER_NMI << APIC_LVT_DELIVERY_SHIFT);
	hpet_after_1_ms(HPET_ENABLE);
	came = wait_until(&interrupts[VECTOR_NMI], 1, PATIENCE_MS);
	first = interrupts[VECTOR_NMI];
	hpet_after_1_ms(HPET_ENABLE | HPET_PERIODIC); /* the first may arrive before HLT */
	__asm__ volatile("hlt"); /* without IF: only the NMI wakes it */
	hpet_off();
	CHECK(came);
	EQUAL(first, 1);
	CHECK(interrupts[VECTOR_NMI] >= 2);
}

TEST(nmis_wait_for_the_sti_shadow, ALL)
{
	struct stopwatch watch = stopwatch_start(1000);
	u64 count;

	prepare(MODE_BITS);
	on_interrupt = note_shadow;
	in_shadow = interrupts[VECTOR_NMI] = 0;
	hpet_route(APIC_DELIVER_NMI << APIC_LVT_DELIVERY_SHIFT);
	hpet_after_1_ms(HPET_ENABLE | HPET_PERIODIC);
	while (interrupts[VECTOR_NMI] < 60 && stopwatch_passed(&watch) < clock_ticks(PATIENCE_MS * 1000))
		sti_and_nop();
	hpet_off();
	count = interrupts[VECTOR_NMI];
	CHECK(count >= 60);
	EQUAL(in_shadow, 0);
}

static void ioapic_level(u64 mode)
{
	bool came;
	u32 tmr, remote_irr;

	prepare(mode);
	on_interrupt = serve_hpet;
	hpet_route(VECTOR | IOAPIC_ENTRY_LEVEL);
	hpet_after_1_ms(HPET_ENABLE | HPET_LEVEL);
	came = wait_until(&interrupts[VECTOR], 1, PATIENCE_MS);
	let_pass();
	tmr = vector_bit(APIC_TMR, VECTOR);
	remote_irr = hpet_remote_irr();
	hpet_off();
	CHECK(came);
	EQUAL(interrupts[VECTOR], 1);
	EQUAL(tmr, 1);
	EQUAL(remote_irr, 0);
}

TEST(ioapic_level_xapic, ALL) { ioapic_level(APIC_BASE_EN); }
TEST(ioapic_level_x2apic, ALL) { ioapic_level(MODE_BITS); }

/* Served at the third interrupt only: the line stays active, and each EOI causes the next interrupt. */
static void serve_third(u8 vector)
{
	if (interrupts[vector] == 3)
		hpet_served();
	apic_write(APIC_EOI, 0);
}

TEST(ioapic_level_comes_again_until_served, ALL)
{
	bool came;

	prepare(APIC_BASE_EN);
	on_interrupt = serve_third;
	hpet_route(VECTOR | IOAPIC_ENTRY_LEVEL);
	hpet_after_1_ms(HPET_ENABLE | HPET_LEVEL);
	came = wait_until(&interrupts[VECTOR], 3, PATIENCE_MS);
	let_pass();
	hpet_off();
	CHECK(came);
	EQUAL(interrupts[VECTOR], 3);
}

/* While a level-triggered interrupt is in service, a higher one arrives and ends before it. */
TEST(ioapic_level_ends_in_order, ALL)
{
	bool came;

	prepare(APIC_BASE_EN);
	on_interrupt = NULL;
	hpet_route(VECTOR | IOAPIC_ENTRY_LEVEL);
	hpet_after_1_ms(HPET_ENABLE | HPET_LEVEL);
	came = wait_until(&interrupts[VECTOR], 1, PATIENCE_MS);
	apic_write(APIC_ICR, APIC_SHORTHAND_SELF | 0xA1);
	came = came && wait_until(&interrupts[0xA1], 1, PATIENCE_MS);
	apic_write(APIC_EOI, 0);
	CHECK(came);
	EQUAL(hpet_remote_irr(), 1);
	EQUAL(vector_bit(APIC_ISR, VECTOR), 1);
	hpet_served();
	apic_write(APIC_EOI, 0);
	EQUAL(hpet_remote_irr(), 0);
	hpet_off();
	EQUAL(interrupts[VECTOR], 1);
}
