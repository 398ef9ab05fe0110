/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A message of a device (MSI) names a processor by its APIC ID or a logical one, and QEMU delivers it to its own
 * processor of that number. The first runs the emulator. Each other one sleeps here; it notes down what it receives, and
 * interrupts the first one, with the vector of the timer.
 *
 * They share only what is accessed atomically here. A device can stop one by INIT: then that vCPU's messages are lost.
 */
#include "catch.h"
#include "interrupts.h"
#include "layout.h"
#include "physical_apic.h"
#include "vectors.h"

#define SIPI_VECTOR 0xFF         /* the reset page's alias below 1 MiB (reset.S) */
#define PATIENCE_NS 1000000000ull

extern u8 catch_stacks[];

_Noreturn void catch_main(struct vcpu *vcpu); /* from start.S, on its own processor */

static void note(u32 *words, u32 vector) { __atomic_fetch_or(&words[vector_word(vector)], vector_mask(vector), __ATOMIC_SEQ_CST); }

/* An interrupt of this processor (stubs.S). */
static void caught(struct vcpu *vcpu, u32 vector)
{
	bool level = false;

	if (vector == X86_NMI) {
		__atomic_store_n(&vcpu->caught_nmi, true, __ATOMIC_SEQ_CST);
	} else {
		if (!physical_in_service(vector, &level))
			return;
		physical_eoi();
		if (vector == PHYSICAL_TIMER_VECTOR && __atomic_exchange_n(&vcpu->mirror, false, __ATOMIC_SEQ_CST)) {
			physical_set_destination(vcpu);
			__atomic_store_n(&vcpu->catching, true, __ATOMIC_SEQ_CST);
			return;
		}
		if (level)
			note(vcpu->caught_level, vector);
		note(vcpu->caught, vector);
	}
	physical_send(0, PHYSICAL_TIMER_VECTOR);
}

void catch_main(struct vcpu *vcpu)
{
	interrupts_on_this_processor();
	physical_enable();
	physical_set_destination(vcpu);
	__atomic_store_n(&vcpu->catching, true, __ATOMIC_SEQ_CST);
	for (;;)
		__asm__ volatile("sti; hlt");
}

static void wait_for(struct vcpu *vcpu)
{
	u64 start = now_ns(vcpu->hv);

	while (!__atomic_load_n(&vcpu->catching, __ATOMIC_SEQ_CST) && now_ns(vcpu->hv) - start < PATIENCE_NS)
		__asm__ volatile("pause");
}

void catch_start(struct hypervisor *hv)
{
	for (u32 i = 1; i < hv->vcpus; i++) {
		u64 *top = (u64 *)(catch_stacks + (i + 1) * STACK_SIZE);

		top[-1] = (u64)&hv->vcpu[i]; /* for start.S and stubs.S */
		top[-2] = (u64)caught;
		physical_send(i, APIC_DELIVER_STARTUP << APIC_ICR_DELIVERY_SHIFT | SIPI_VECTOR);
		wait_for(&hv->vcpu[i]);
	}
}

void catch_mirror(struct vcpu *vcpu)
{
	if (!__atomic_exchange_n(&vcpu->catching, false, __ATOMIC_SEQ_CST)) /* it does not answer */
		return;
	__atomic_store_n(&vcpu->mirror, true, __ATOMIC_SEQ_CST);
	physical_send(vcpu->index, PHYSICAL_TIMER_VECTOR);
	wait_for(vcpu);
}

static void collect(struct vcpu *vcpu)
{
	for (u32 word = 0; word < APIC_VECTOR_WORDS; word++) {
		u32 vectors = __atomic_exchange_n(&vcpu->caught[word], 0, __ATOMIC_SEQ_CST);
		u32 levels = vectors ? __atomic_fetch_and(&vcpu->caught_level[word], ~vectors, __ATOMIC_SEQ_CST) : 0;

		for (; vectors; vectors &= vectors - 1) {
			u32 bit = (u32)__builtin_ctz(vectors);

			post_interrupt(vcpu, guest_apic(vcpu), (u8)(word * 32 + bit), levels >> bit & 1, RECORD_IRQ_IOAPIC);
			vcpu->apic_dirty = true;
		}
	}
	if (__atomic_exchange_n(&vcpu->caught_nmi, false, __ATOMIC_SEQ_CST)) {
		vcpu->nmi_pending = true;
		vcpu->apic_dirty = true;
	}
}

void catch_collect(struct hypervisor *hv)
{
	for (u32 i = 1; i < hv->vcpus; i++)
		collect(&hv->vcpu[i]);
}
