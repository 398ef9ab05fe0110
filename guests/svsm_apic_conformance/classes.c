/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Priority classes: each class of a vector against each TPR and each class in service, by the rules of the specification
 * (APM vol. 2, 16.6.3-16.6.4; SDM vol. 3A, 11.8.3-11.8.4).
 */
#include "groups.h"
#include "cpu.h"
#include "platform.h"
#include "svsm_apic.h"
#include "trap.h"

#define CLASSES      16
#define FIRST_CLASS  2      /* the vectors of classes 0 and 1 are exceptions, or reserved for them */
#define FIRST_VECTOR (FIRST_CLASS << 4)
#define CLASS_1      22     /* a vector of class 1 that no exception uses */
#define LOWER        0x1u   /* three vectors of a class */
#define MIDDLE       0x7u
#define HIGHER       0xEu
#define OF(a, b)     ((u64)(a) << 8 | (b)) /* of which pair a check is */

static u8 vector_of(u32 class, u32 low) { return (u8)(class << 4 | low); }

static bool due(u32 vector_class, u32 priority_class) { return vector_class > priority_class; }

/* What can be delivered arrives here, before the next call of the SVSM. */
static void window(void)
{
	__asm__ volatile("sti; nop; nop; cli" : : : "memory");
}

/* Every EOI is a call: the next check does not depend on no_eoi_required. */
static void end_with_call(u8 vector)
{
	tap_count_interrupt();
	if (vector != VECTOR_NMI)
		end_by_call();
}

/* The SVSM injects the interrupt if interrupts are on at the call, and queues it otherwise. */
static void tpr_by_vector(void)
{
	on_interrupt = end_with_call;
	for (u32 tpr = 0; tpr < CLASSES; tpr++) {
		for (u32 class = FIRST_CLASS; class < CLASSES; class++) {
			u8 vector = vector_of(class, tpr % 2 ? LOWER : HIGHER);

			interrupts[vector] = 0;
			write_register(X2(APIC_TPR), tpr << 4);
			if (class % 2)
				sti();
			send_self(vector);
			window();
			EQUAL_OF(OF(tpr, vector), interrupts[vector], due(class, tpr));
			EQUAL_OF(OF(tpr, vector), in_irr(vector), !due(class, tpr));
			write_register(X2(APIC_TPR), 0);
			if (!EQUAL_OF(OF(tpr, vector), comes(&interrupts[vector], 1), true))
				return;
		}
	}
}

static u8 outer, inner;
static u64 inner_before_eoi;
static bool inner_pending;

static void send_inner(u8 vector)
{
	if (vector == outer && !interrupts[inner]) {
		send_self(inner);
		window();
		inner_before_eoi = interrupts[inner];
		inner_pending = in_irr(inner);
	}
	end_with_call(vector);
}

/* `inner` is sent in the handler of `outer`. In one class, neither a lower nor a higher vector interrupts it. */
static void in_service_by_vector(u64 low)
{
	on_interrupt = send_inner;
	for (u32 service = FIRST_CLASS; service < CLASSES; service++) {
		for (u32 class = FIRST_CLASS; class < CLASSES; class++) {
			outer = vector_of(service, MIDDLE);
			inner = vector_of(class, (u32)low);
			interrupts[outer] = interrupts[inner] = 0;
			send_self(outer);
			if (!EQUAL_OF(OF(outer, inner), comes(&interrupts[inner], 1), true))
				return;
			EQUAL_OF(OF(outer, inner), inner_before_eoi, due(class, service));
			EQUAL_OF(OF(outer, inner), inner_pending, !due(class, service));
			EQUAL_OF(OF(outer, inner), interrupts[outer], 1);
		}
	}
}

static u64 ppr[CLASSES]; /* by the class of TPR */

static void note_ppr(u8 vector)
{
	for (u32 tpr = 0; tpr < CLASSES; tpr++) {
		write_register(X2(APIC_TPR), tpr << 4);
		ppr[tpr] = read_register(X2(APIC_PPR));
	}
	write_register(X2(APIC_TPR), 0);
	end_with_call(vector);
}

/* Fills ppr[] while `vector` is in service. */
static bool find_ppr(u8 vector)
{
	on_interrupt = note_ppr;
	send_self(vector);
	return EQUAL_OF(vector, comes(&interrupts[vector], 1), true);
}

/* The higher class of TPR and what is in service. */
static void ppr_by_tpr_and_in_service(void)
{
	for (u32 service = FIRST_CLASS; service < CLASSES; service++) {
		u8 vector = vector_of(service, HIGHER);

		if (!find_ppr(vector))
			return;
		for (u32 tpr = 0; tpr < CLASSES; tpr++)
			EQUAL_OF(OF(tpr, vector), ppr[tpr] >> 4, due(service, tpr) ? service : tpr);
	}
}

/* PPR 3:0 is 0 if the class in service is the higher one. TPR 3:0 is 0 always (values/tpr-reads-back). */
static void ppr_low_nibble(void)
{
	for (u32 service = FIRST_CLASS; service < CLASSES; service++) {
		u8 vector = vector_of(service, HIGHER);

		if (!find_ppr(vector))
			return;
		for (u32 tpr = 0; tpr < CLASSES; tpr++)
			EQUAL_OF(OF(tpr, vector), ppr[tpr] & ~(u64)APIC_PRIORITY_CLASS, 0);
	}
}

static u64 isr_word, irr_word;

static u64 word_of(u32 bank, u8 vector) { return read_register(X2(bank) + vector / 32); }

static void note_words(u8 vector)
{
	isr_word = word_of(APIC_ISR, vector);
	irr_word = word_of(APIC_IRR, vector);
	end_with_call(vector);
}

/* Of each vector, the one bit of the one word: in IRR until it is delivered, then in ISR. */
static void bits_of_each_vector(void)
{
	on_interrupt = note_words;
	for (u32 vector = FIRST_VECTOR; vector < 256; vector++) {
		u64 bit = BIT(vector % 32);

		send_self((u8)vector);
		EQUAL_OF(vector, word_of(APIC_IRR, (u8)vector), bit);
		EQUAL_OF(vector, word_of(APIC_ISR, (u8)vector), 0);
		if (!EQUAL_OF(vector, comes(&interrupts[vector], 1), true))
			return;
		EQUAL_OF(vector, isr_word, bit);
		EQUAL_OF(vector, irr_word, 0);
	}
}

/* Vectors from 16 on are valid. */
static void class_1(void)
{
	trap_as_interrupt(CLASS_1, true);
	on_interrupt = end_with_call;
	write_register(X2(APIC_TPR), 0x10);
	send_self(CLASS_1);
	window();
	EQUAL(interrupts[CLASS_1], 0);
	EQUAL(in_irr(CLASS_1), 1);
	write_register(X2(APIC_TPR), 0);
	CHECK(comes(&interrupts[CLASS_1], 1));
	EQUAL(in_service(), 0);
	trap_as_interrupt(CLASS_1, false);
}

static const struct point points[] = {
	{ "classes/tpr-by-vector", NEED_PROTOCOL, .run = tpr_by_vector },
	{ "classes/in-service-by-lower-vector", NEED_PROTOCOL, .run_with = in_service_by_vector, LOWER },
	{ "classes/in-service-by-higher-vector", NEED_PROTOCOL, .run_with = in_service_by_vector, HIGHER },
	{ "classes/ppr-by-tpr-and-in-service", NEED_PROTOCOL, .run = ppr_by_tpr_and_in_service },
	{ "classes/ppr-low-nibble", NEED_PROTOCOL, .run = ppr_low_nibble },
	{ "classes/bits-of-each-vector", NEED_PROTOCOL, .run = bits_of_each_vector },
	{ "classes/class-1", NEED_PROTOCOL, .run = class_1 },
};

GROUP(classes_group, points, svsm_apic_prepare);
