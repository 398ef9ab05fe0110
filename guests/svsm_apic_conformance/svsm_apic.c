/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "svsm_apic.h"
#include "cpu.h"
#include "hpet.h"
#include "start.h"
#include "tap.h"
#include "timer.h"
#include "trap.h"

#define DRAIN_ROUNDS 64 /* more than the interrupts that a point leaves in service and pending */

u64 query_protocol(u32 protocol, u32 version)
{
	struct svsm_reply reply = svsm_request(SVSM_CALL(SVSM_PROTOCOL_CORE, SVSM_CORE_QUERY_PROTOCOL),
					       (u64)protocol << SVSM_QUERY_PROTOCOL_SHIFT | version, 0, 0);

	return reply.rax == SVSM_SUCCESS ? reply.rcx : 0;
}

struct svsm_reply apic_call(u32 call, u64 rcx, u64 rdx)
{
	return svsm_request(SVSM_CALL(SVSM_PROTOCOL_APIC, call), rcx, rdx, 0);
}

u64 configure(u64 rcx) { return apic_call(SVSM_APIC_CONFIGURE, rcx, 0).rax; }
u64 configure_vector(u64 rcx) { return apic_call(SVSM_APIC_CONFIGURE_VECTOR, rcx, 0).rax; }
u64 write_register(u64 msr, u64 value) { return apic_call(SVSM_APIC_WRITE_REGISTER, msr, value).rax; }
u64 read_result(u64 msr) { return apic_call(SVSM_APIC_READ_REGISTER, msr, 0).rax; }

u64 read_register(u64 msr)
{
	struct svsm_reply reply = apic_call(SVSM_APIC_READ_REGISTER, msr, 0);

	return reply.rax == SVSM_SUCCESS ? reply.rdx : ~0ull;
}

void allow(u8 vector) { configure_vector(vector | SVSM_APIC_VECTOR_ENABLE); }
void send_self(u8 vector) { write_register(X2(APIC_SELF_IPI), vector); }

static bool vector_bit(u32 base, u8 vector) { return read_register(X2(base) + vector / 32) >> vector % 32 & 1; }

bool in_irr(u8 vector) { return vector_bit(APIC_IRR, vector); }
bool in_isr(u8 vector) { return vector_bit(APIC_ISR, vector); }
bool in_tmr(u8 vector) { return vector_bit(APIC_TMR, vector); }

static u32 bits_of(u32 base)
{
	u32 count = 0;

	for (u32 word = 0; word < APIC_VECTOR_WORDS; word++) {
		for (u32 bits = (u32)read_register(X2(base) + word); bits; bits &= bits - 1)
			count++;
	}
	return count;
}

u32 in_service(void) { return bits_of(APIC_ISR); }

bool end_lazily(void)
{
	volatile u8 *flag = calling_area() + SVSM_CAA_NO_EOI_REQUIRED;
	u8 was = 0;

	/* One instruction, because the SVSM may clear the byte at any time. */
	__asm__ volatile("xchg %0, %1" : "+q"(was), "+m"(*flag) : : "memory");
	return was;
}

u64 end_by_call(void) { return write_register(X2(APIC_EOI), 0); }

void end_interrupt(u8 vector)
{
	tap_count_interrupt();
	end_interrupt_uncounted(vector);
}

void end_interrupt_uncounted(u8 vector)
{
	if (vector != VECTOR_NMI && !end_lazily())
		end_by_call();
}

void svsm_apic_prepare(void)
{
	cli();
	timer_stop();
	hpet_off();
	configure_vector(SVSM_APIC_VECTOR_ALL);
	write_register(X2(APIC_TPR), 0);
	on_interrupt = end_interrupt;
	for (u32 round = 0; round < DRAIN_ROUNDS; round++) {
		if (in_service())
			end_by_call();
		else if (!bits_of(APIC_IRR))
			break;
		sti();
		pause();
		cli();
	}
	on_interrupt = end_interrupt;
	interrupts_forget();
}
