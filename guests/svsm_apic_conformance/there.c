/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "there.h"
#include "clock.h"
#include "cpu.h"
#include "svsm_apic.h"
#include "tap.h"
#include "trap.h"

#define PATIENCE_THERE_MS 200
#define LONGEST_STEP_US   1000 /* of the loop that waits */
#define DRAIN_ROUNDS   8  /* more than the interrupts that a point leaves there */

volatile u64 here[256], there[256];
volatile bool other_runs, no_eoi_there;
static volatile bool released; /* it may end its command */

u64 write_there(struct ap *ap, u32 reg, u64 value)
{
	return ap_svsm_call(ap, SVSM_CALL(SVSM_PROTOCOL_APIC, SVSM_APIC_WRITE_REGISTER), X2(reg), value).rax;
}

u64 read_there(struct ap *ap, u32 reg)
{
	struct svsm_reply reply = ap_svsm_call(ap, SVSM_CALL(SVSM_PROTOCOL_APIC, SVSM_APIC_READ_REGISTER), X2(reg), 0);

	return reply.rax == SVSM_SUCCESS ? reply.rdx : ~0ull;
}

bool bit_there(struct ap *ap, u32 bank, u8 vector)
{
	return read_there(ap, bank + vector / 32 * 16) >> vector % 32 & 1;
}

u64 allow_there(struct ap *ap, u64 vector)
{
	return ap_svsm_call(ap, SVSM_CALL(SVSM_PROTOCOL_APIC, SVSM_APIC_CONFIGURE_VECTOR), vector, 0).rax;
}

void count_there(u8 vector)
{
	if (ap_self() == HERE) {
		here[vector]++;
		end_interrupt(vector);
		return;
	}
	there[vector]++;
	if (vector != VECTOR_NMI && !no_eoi_there)
		write_there(&aps[THERE], APIC_EOI, 0);
}

bool comes_there(u8 vector, u64 target)
{
	struct stopwatch watch = stopwatch_start(LONGEST_STEP_US);

	while (there[vector] < target && stopwatch_passed(&watch) < clock_ticks(PATIENCE_THERE_MS * 1000))
		pause();
	return there[vector] >= target;
}

static void drain(struct ap *ap)
{
	allow_there(ap, SVSM_APIC_VECTOR_ALL);
	write_there(ap, APIC_TPR, 0);
	for (u32 round = 0; round < DRAIN_ROUNDS; round++) {
		write_there(ap, APIC_EOI, 0);
		sti();
		pause();
		cli();
	}
}

void there_destroy(void)
{
	ap_creation(NAE_AP_DESTROY, THERE);
	ap_unmake_vmsa(THERE);
	aps[THERE].started = 0;
	other_runs = false;
}

void there_forget(void)
{
	on_interrupt = count_there;
	no_eoi_there = false;
	for (u32 vector = 0; vector < 256; vector++)
		here[vector] = there[vector] = 0;
}

/* One that did not end its command is made again, so that it makes no other point fail. */
void there_prepare(void)
{
	svsm_apic_prepare();
	there_forget();
	if (aps[THERE].started && !other_runs)
		there_destroy();
	other_runs = aps[THERE].started || ap_start(THERE);
	other_runs = other_runs && ap_run(THERE, drain);
	there_forget();
}

bool start_there(void (*command)(struct ap *ap))
{
	if (!CHECK(other_runs))
		return false;
	released = false;
	aps[THERE].value[0] = 0;
	ap_command(THERE, command);
	while (!aps[THERE].value[0] && !tap_time_is_up())
		pause();
	return true;
}

bool finish_there(void)
{
	released = true;
	other_runs = ap_wait(THERE);
	return CHECK(other_runs);
}

static void wait_for_release(void)
{
	while (!released)
		pause();
}

void serve_until_release(void)
{
	sti();
	wait_for_release();
	cli();
}

/*
 * value[1]: VECTOR_THERE is in ISR or IRR. After the first call, the second one also shows what was sent without a request to
 * the hypervisor.
 */
static void note_pending(struct ap *ap)
{
	ap->value[1] = bit_there(ap, APIC_ISR, VECTOR_THERE);
	ap->value[1] |= bit_there(ap, APIC_IRR, VECTOR_THERE);
}

void take_there(struct ap *ap)
{
	ap->value[0] = 1;
	serve_until_release();
	note_pending(ap);
}

void hold_there(struct ap *ap)
{
	ap->value[0] = 1;
	wait_for_release();
	note_pending(ap);
}

u64 query_protocol_there(struct ap *ap)
{
	return ap_svsm_call(ap, SVSM_CALL(SVSM_PROTOCOL_CORE, SVSM_CORE_QUERY_PROTOCOL),
			    (u64)SVSM_PROTOCOL_APIC << SVSM_QUERY_PROTOCOL_SHIFT | SVSM_APIC_VERSION_MIN, 0).rcx;
}
