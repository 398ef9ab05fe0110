/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Interrupts between vCPUs. */
#include "smp.h"
#include "apic_access.h"

struct sending {
	u64 icr;
	u64 reached; /* 0: every AP */
};

static void expect(const struct sending *sending, u32 count)
{
	for (u32 i = 0; i < count; i++) {
		u8 vector = (u8)(VECTOR + i);

		prepare();
		all_do(take_interrupts);
		send(sending[i].icr | vector);
		CHECK(all_done());
		EQUAL(takers[vector], sending[i].reached ? sending[i].reached : aps_mask());
	}
}

SMP_TEST(smp_fixed_ipis_reach_their_destinations, ALL)
{
	static const struct sending sending[] = {
		{ TO(1) | ICR(APIC_DELIVER_FIXED, 0), BIT(1) },
		{ TO(2) | ICR(APIC_DELIVER_FIXED, 0), BIT(2) },
		{ TO(6) | APIC_ICR_LOGICAL | ICR(APIC_DELIVER_FIXED, 0), BIT(1) | BIT(2) },
		{ APIC_SHORTHAND_OTHERS | ICR(APIC_DELIVER_FIXED, 0), 0 },
		{ TO(0x7FFFFFFF) | ICR(APIC_DELIVER_FIXED, 0), ~0ull }, /* no APIC has this ID: see below */
	};
	CHECK(ap_start_all());
	expect(sending, 4);
	prepare();
	all_do(take_interrupts);
	send(sending[4].icr | VECTOR);
	CHECK(all_done());
	EQUAL(takers[VECTOR], 0);
}

SMP_TEST(smp_a_broadcast_reaches_everybody, ALL)
{
	CHECK(ap_start_all());
	prepare();
	all_do(take_interrupts);
	send(TO(APIC_BROADCAST) | ICR(APIC_DELIVER_FIXED, VECTOR));
	sti();
	CHECK(all_done());
	cli();
	apic_write(APIC_EOI, 0);
	EQUAL(takers[VECTOR], aps_mask() | 1);
}

SMP_TEST(smp_lowest_priority_reaches_one, ALL)
{
	CHECK(ap_start_all());
	prepare();
	apic_write(APIC_TPR, 0xF0); /* so that it is not the sender */
	all_do(take_interrupts);
	send(TO(7) | APIC_ICR_LOGICAL | ICR(APIC_DELIVER_LOWEST, VECTOR));
	CHECK(all_done());
	apic_write(APIC_TPR, 0);
	EQUAL(takers[VECTOR], BIT(1));
}

SMP_TEST(smp_an_nmi_reaches_one, ALL)
{
	CHECK(ap_start_all());
	prepare();
	all_do(take_interrupts);
	send(TO(last_ap()) | ICR(APIC_DELIVER_NMI, 0));
	CHECK(all_done());
	EQUAL(takers[VECTOR_NMI], BIT(last_ap()));
}

SMP_TEST(smp_an_ipi_ends_hlt, ALL)
{
	CHECK(ap_start_all());
	prepare();
	all_do(halt);
	CHECK(!ap_is_running(1)); /* all are in HLT now */
	send(APIC_SHORTHAND_OTHERS | ICR(APIC_DELIVER_FIXED, VECTOR));
	CHECK(all_done());
	EQUAL(takers[VECTOR], aps_mask());
}

static volatile bool may_rest;
static volatile u64 handled;

static void end_and_count(u8 vector)
{
	(void)vector;
	__atomic_fetch_or(&handled, BIT(ap_self()), __ATOMIC_SEQ_CST);
	ap_msr_out(&aps[ap_self()], X2(APIC_EOI), 0);
}

#define FOUR_TIMES(what) what what what what

/* No short loop, which would look like a wait for another vCPU. */
static void work(struct ap *ap)
{
	ap->value[0] = 1;
	sti();
	while (!may_rest) {
		FOUR_TIMES(FOUR_TIMES(FOUR_TIMES(FOUR_TIMES(FOUR_TIMES(ap->value[1]++;)))))
	}
	cli();
}

#define BROADCASTS   50
#define BROADCAST_NS 2500000 /* three slices are 4650000 */

/* The fastest of many: the machine may be busy with something else. */
SMP_TEST(smp_busy_vcpus_handle_an_ipi_soon, ALL)
{
	u64 fastest = ~0ull;

	CHECK(ap_start_all());
	prepare();
	on_interrupt = end_and_count;
	may_rest = false;
	all_do(work);
	for (u64 i = 0; i < BROADCASTS; i++) {
		u64 start = rdtsc(), passed;

		handled = 0;
		send(APIC_SHORTHAND_OTHERS | ICR(APIC_DELIVER_FIXED, VECTOR));
		while (handled != aps_mask())
			pause();
		passed = rdtsc() - start;
		if (passed < fastest)
			fastest = passed;
	}
	may_rest = true;
	CHECK(all_done());
	CHECK(clock_ns(fastest) < BROADCAST_NS);
}

#define SEND_IPI 10 /* KVM_HC_SEND_IPI */

/* RBX, RCX: bitmaps of APIC IDs, RDX: the lowest, RSI: an ICR value without destination. */
static u64 send_by_hypercall(u64 low, u64 high, u64 lowest, u64 icr)
{
	u64 result = SEND_IPI;

	if (!sev()) {
		__asm__ volatile("vmmcall" : "+a"(result) : "b"(low), "c"(high), "d"(lowest), "S"(icr) : "memory");
		return result;
	}
	ghcb_set(GHCB_RAX, SEND_IPI);
	ghcb_set(GHCB_CPL & ~7u, 0);
	ghcb_set(GHCB_RBX, low);
	ghcb_set(GHCB_RCX, high);
	ghcb_set(GHCB_RDX, lowest);
	ghcb_set(GHCB_RSI, icr);
	return nae(NAE_VMMCALL, 0, 0) == NAE_RESULT_OK ? ghcb_get(GHCB_RAX) : 0;
}

SMP_TEST(smp_ipis_by_hypercall, ALL)
{
	static const struct {
		u64 low, high, lowest, reached, count;
	} calls[] = {
		{ 2, 0, 0, 2, 1 }, { 6, 0, 0, 6, 2 }, { 3, 0, 1, 6, 2 }, { 0, 2, (u32)-63, 4, 1 }, { 1ull << 63 | 1, 0, 2, 4, 1 },
	};

	CHECK(ap_start_all());
	for (u32 i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		prepare();
		all_do(take_interrupts);
		EQUAL(send_by_hypercall(calls[i].low, calls[i].high, calls[i].lowest, VECTOR), calls[i].count);
		CHECK(all_done());
		EQUAL(takers[VECTOR], calls[i].reached);
	}
	prepare();
	all_do(take_interrupts);
	EQUAL(send_by_hypercall(2, 0, 0, ICR(APIC_DELIVER_NMI, 0)), 1);
	EQUAL(send_by_hypercall(2, 0, 0, APIC_ICR_LOGICAL | VECTOR), (u64)-22);
	EQUAL(send_by_hypercall(0, 0, 0, APIC_SHORTHAND_OTHERS | VECTOR), (u64)-22);
	EQUAL(send_by_hypercall(~0u, 0, ~0u, 0), 0);
	CHECK(all_done());
	EQUAL(takers[VECTOR_NMI], 2);
	EQUAL(takers[VECTOR], 0);
}

static void send_to_boot(struct ap *ap)
{
	ap->value[0] = ap_msr_out(ap, X2(APIC_ICR), TO(0) | ICR(APIC_DELIVER_FIXED, VECTOR));
}

SMP_TEST(smp_an_ap_sends_to_the_boot_vcpu, ALL)
{
	CHECK(ap_start_all());
	prepare();
	CHECK(ap_run(1, send_to_boot));
	CHECK(aps[1].value[0]);
	CHECK(wait_until(&interrupts[VECTOR], 1, PATIENCE_MS));
	apic_write(APIC_EOI, 0);
	EQUAL(takers[VECTOR], 1);
}

#define WRITE_REGISTER SVSM_CALL(SVSM_PROTOCOL_APIC, SVSM_APIC_WRITE_REGISTER)

static void send_by_svsm(u64 icr, void (*command)(struct ap *ap), u64 reached)
{
	for (u32 i = 0; i < 256; i++)
		takers[i] = 0;
	on_interrupt = note_taker;
	all_do(command);
	EQUAL(svsm_call(WRITE_REGISTER, X2(APIC_ICR), icr), SVSM_SUCCESS);
	CHECK(all_done());
	EQUAL(takers[icr & 0xFF], reached);
	for (u64 i = 1; i < parameters->vcpus; i++)
		EQUAL(aps[i].value[1], SVSM_SUCCESS);
}

SMP_TEST(smp_svsm_ipis_reach_guests_that_run, ALTERNATE)
{
	CHECK(ap_start_all());
	send_by_svsm(TO(1) | VECTOR, take_interrupts, BIT(1));
	send_by_svsm(TO(6) | APIC_ICR_LOGICAL | VECTOR, take_interrupts, BIT(1) | BIT(2));
	send_by_svsm(APIC_SHORTHAND_OTHERS | VECTOR, take_interrupts, aps_mask());
}

SMP_TEST(smp_svsm_ipis_end_hlt, ALTERNATE)
{
	CHECK(ap_start_all());
	send_by_svsm(APIC_SHORTHAND_OTHERS | VECTOR, halt, aps_mask());
}

SMP_TEST(smp_svsm_refuses_init_and_sipi, ALTERNATE)
{
	CHECK(ap_start_all());
	EQUAL(svsm_call(WRITE_REGISTER, X2(APIC_ICR), TO(1) | ICR(APIC_DELIVER_INIT, 0)), SVSM_ERR_INVALID_PARAMETER);
	EQUAL(svsm_call(WRITE_REGISTER, X2(APIC_ICR), TO(1) | ICR(APIC_DELIVER_STARTUP, 8)), SVSM_ERR_INVALID_PARAMETER);
	CHECK(ap_is_running(1));
}

static void send_to_boot_by_svsm(struct ap *ap)
{
	ap->value[0] = ap_svsm_call(ap, WRITE_REGISTER, X2(APIC_ICR), TO(0) | VECTOR).rax;
}

SMP_TEST(smp_svsm_ipi_of_an_ap, ALTERNATE)
{
	CHECK(ap_start_all());
	takers[VECTOR] = interrupts[VECTOR] = 0;
	on_interrupt = note_taker;
	CHECK(ap_run(1, send_to_boot_by_svsm));
	EQUAL(aps[1].value[0], SVSM_SUCCESS);
	CHECK(wait_until(&interrupts[VECTOR], 1, PATIENCE_MS));
	EQUAL(takers[VECTOR], 1);
	EQUAL(svsm_call(WRITE_REGISTER, X2(APIC_EOI), 0), SVSM_SUCCESS);
}

#define PIT_OFTEN 16 /* of its clocks of 838 ns */
#define SENT      300

static void pit_rate(u16 count)
{
	io_out(0x43, 1, 0x34); /* counter 0, mode 2 */
	io_out(0x40, 1, count & 0xFF);
	io_out(0x40, 1, count >> 8);
}

static u64 write_by_svsm(u32 reg, u64 value)
{
	return svsm_call(SVSM_CALL(SVSM_PROTOCOL_APIC, SVSM_APIC_WRITE_REGISTER), X2(reg), value);
}

static void end_by_svsm(u8 vector)
{
	(void)vector;
	write_by_svsm(APIC_EOI, 0);
}

/* The PIT, which interrupts nobody, makes QEMU look at its timers often, in the handler's first instructions, too. */
SMP_TEST(smp_an_injected_interrupt_comes_once, ALTERNATE)
{
	u64 came = 0;

	pic_mask_all();
	on_interrupt = end_by_svsm;
	interrupts[VECTOR] = 0;
	pit_rate(PIT_OFTEN);
	for (u64 sent = 1; sent <= SENT && came == sent - 1; sent++) {
		sti();
		write_by_svsm(APIC_SELF_IPI, VECTOR);
		cli();
		came = interrupts[VECTOR];
	}
	pit_rate(0);
	EQUAL(came, SENT);
}
