/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The last deregistration: the SVSM's APIC ends, and the hypervisor's continues with its state (COCONUT
 * kernel/src/protocols/apic.rs, apic_configure; cpu/apic.rs, disable_apic_emulation, handoff_to_host). The count of
 * registrations is the guest's, but each vCPU ends its APIC by a call of its own. The APIC cannot be registered again: this
 * group and registration_others.c and registration_again.c are the last ones, and each point depends on the ones before.
 */
#include "groups.h"
#include "apic_access.h"
#include "cpu.h"
#include "hpet.h"
#include "io.h"
#include "platform.h"
#include "start.h"
#include "svsm_apic.h"
#include "there.h"
#include "timer.h"
#include "trap.h"

#define IN_SERVICE 0x51
#define PENDING    0x61
#define WAITING    0x41 /* below what is in service */
#define TPR        0x20
#define VECTOR     0x71
#define US         1000

static u64 hypervisor_read(u32 reg)
{
	u64 value = ~0ull;

	CHECK(msr_in(X2(reg), &value));
	return value;
}

static void hypervisor_write(u32 reg, u64 value) { CHECK(msr_out(X2(reg), value)); }

static bool hypervisor_bit(u32 base, u8 vector) { return hypervisor_read(base + vector / 32 * 16) >> vector % 32 & 1; }

static void end_at_hypervisor(u8 vector)
{
	tap_count_interrupt();
	if (vector != VECTOR_NMI)
		msr_out(X2(APIC_EOI), 0);
}

static void do_not_end(u8 vector) { (void)vector; tap_count_interrupt(); }

/* With a second vCPU, it keeps its APIC. */
static void deregister_last(void)
{
	if (!platform_lacks(NEED_OTHER_VCPU))
		there_prepare();
	svsm_apic_prepare();
	CHECK(hypervisor_apic_ready());
	on_interrupt = do_not_end;
	send_self(IN_SERVICE);
	CHECK(comes(&interrupts[IN_SERVICE], 1));
	write_register(X2(APIC_TPR), TPR);
	send_self(PENDING);
	send_self(WAITING);
	EQUAL(configure(SVSM_APIC_CONFIGURE_DEREGISTER), SVSM_SUCCESS);
}

static void query_answers_0(void)
{
	EQUAL(query_protocol(SVSM_PROTOCOL_APIC, SVSM_APIC_VERSION_MIN), 0);
}

static void calls_refused(void)
{
	for (u32 call = SVSM_APIC_QUERY_FEATURES; call <= SVSM_APIC_CONFIGURE_VECTOR + 1; call++)
		EQUAL_OF(call, apic_call(call, X2(APIC_TPR), 0).rax, SVSM_ERR_UNSUPPORTED_PROTOCOL);
	EQUAL(configure(SVSM_APIC_CONFIGURE_REGISTER), SVSM_ERR_UNSUPPORTED_PROTOCOL);
}

static void no_eoi_required_is_clear(void)
{
	EQUAL(calling_area()[SVSM_CAA_NO_EOI_REQUIRED], 0);
}

/* SEV_STATUS shows what is active (APM vol. 2, 15.34.10). The SVSM has cleared the bit in the VMSA. */
static void sev_status_tells(void)
{
	EQUAL(rdmsr(SEV_MSR_STATUS) & SEV_STATUS_ALTERNATE_INJECTION, 0);
}

static void state_handed_over(void)
{
	EQUAL(hypervisor_bit(APIC_ISR, IN_SERVICE), 1);
	EQUAL(hypervisor_bit(APIC_IRR, PENDING), 1);
	EQUAL(hypervisor_bit(APIC_IRR, WAITING), 1);
	EQUAL(hypervisor_read(APIC_TPR), TPR);
	EQUAL(read_cr8(), TPR >> 4);
	EQUAL(interrupts[PENDING], 0);
}

static void pending_ones_come(void)
{
	on_interrupt = end_at_hypervisor;
	CHECK(comes(&interrupts[PENDING], 1));
	let_pass();
	EQUAL(interrupts[WAITING], 0); /* the interrupt in service has a higher priority */
	hypervisor_write(APIC_EOI, 0);
	CHECK(comes(&interrupts[WAITING], 1));
	let_pass();
	EQUAL(interrupts[PENDING], 1);
	EQUAL(interrupts[WAITING], 1);
	EQUAL(hypervisor_bit(APIC_ISR, IN_SERVICE), 0);
}

static void hypervisor_prepare(void)
{
	apic_prepare(MODE_BITS);
	on_interrupt = end_at_hypervisor;
	interrupts[VECTOR_NMI] = 0;
}

static void self_ipi(void)
{
	hypervisor_prepare();
	hypervisor_write(APIC_SELF_IPI, VECTOR);
	CHECK(comes(&interrupts[VECTOR], 1));
	hypervisor_write(APIC_ICR, APIC_SHORTHAND_SELF | VECTOR);
	CHECK(comes(&interrupts[VECTOR], 2));
	let_pass();
	EQUAL(interrupts[VECTOR], 2);
}

static void tpr(void)
{
	hypervisor_prepare();
	hypervisor_write(APIC_TPR, VECTOR & APIC_PRIORITY_CLASS);
	hypervisor_write(APIC_SELF_IPI, VECTOR);
	let_pass();
	EQUAL(interrupts[VECTOR], 0);
	write_cr8((VECTOR >> 4) - 1);
	CHECK(comes(&interrupts[VECTOR], 1));
	write_cr8(0);
}

static void nmi(void)
{
	hypervisor_prepare();
	hypervisor_write(APIC_ICR, APIC_SHORTHAND_SELF | APIC_DELIVER_NMI << APIC_ICR_DELIVERY_SHIFT);
	let_pass();
	EQUAL(interrupts[VECTOR_NMI], 1);
	EQUAL(nae(NAE_NMI_COMPLETE, 0, 0), NAE_RESULT_OK);
}

static void timer(u64 mode)
{
	hypervisor_prepare();
	CHECK(timer_start(TIMER_MSR, VECTOR, (u32)mode, US)); /* vectors need not be allowed any more */
	CHECK(comes(&interrupts[VECTOR], mode == APIC_TIMER_PERIODIC ? 5 : 1));
	timer_stop();
}

static void device(void)
{
	hypervisor_prepare();
	hpet_route(VECTOR);
	hpet_after_1_ms(HPET_ENABLE);
	CHECK(comes(&interrupts[VECTOR], 1));
	hpet_off();
}

#define AFTER (NEED_PROTOCOL | NEED_X2APIC)

static const struct point points[] = {
	{ "registration/deregister-the-last", AFTER, .run = deregister_last },
	{ "registration/query-protocol-answers-0", AFTER, .run = query_answers_0 },
	{ "registration/calls-refused", AFTER, .run = calls_refused },
	{ "registration/sev-status-tells", AFTER, .run = sev_status_tells },
	{ "registration/no-eoi-required-is-clear", AFTER, .run = no_eoi_required_is_clear },
	{ "registration/state-handed-over", AFTER, .run = state_handed_over },
	{ "registration/pending-interrupts-come", AFTER, .run = pending_ones_come },
	{ "registration/hypervisor-self-ipi", AFTER, .run = self_ipi },
	{ "registration/hypervisor-tpr", AFTER, .run = tpr },
	{ "registration/hypervisor-nmi", AFTER, .run = nmi },
	{ "registration/hypervisor-timer-one-shot", AFTER, .run_with = timer, APIC_TIMER_ONE_SHOT },
	{ "registration/hypervisor-timer-periodic", AFTER, .run_with = timer, APIC_TIMER_PERIODIC },
	{ "registration/hypervisor-device", AFTER | NEED_HPET, .run = device },
};

GROUP(registration_group, points, NULL);
