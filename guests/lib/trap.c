/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Exceptions and interrupts. */
#include "trap.h"
#include "ap.h"
#include "cpu.h"
#include "start.h"

#define VECTORS                256
#define GATE_PRESENT_INTERRUPT 0x8E
#define RFLAGS_ALWAYS_1        0x2 /* bit 1 is set in every RFLAGS */

struct gate {
	u16 offset_low, selector;
	u8 ist, type;
	u16 offset_middle;
	u32 offset_high, reserved;
};

struct __attribute__((packed)) table {
	u16 limit;
	u64 base;
};

struct __attribute__((packed)) tss {
	u32 reserved;
	u64 rsp[3];
	u64 reserved2;
	u64 ist[7];
	u64 reserved3;
	u16 reserved4, io_base;
};

volatile struct trap trap;
volatile u64 interrupts[VECTORS];
volatile u64 interrupted_at;
void (*on_interrupt)(u8 vector);

extern const u8 stubs_plain[], stubs_error[], protect_end[];
extern u64 protect_rsp;
void on_trap(struct trap_frame *frame);

static const struct trap_hooks *hooks;
static bool given_up;

static struct gate idt[VECTORS] __attribute__((aligned(16)));
static struct tss tss __attribute__((aligned(16)));
static bool is_interrupt[VECTORS];
static u64 gdt[8] __attribute__((aligned(16))) = {
	0, 0x00AF9B000000FFFF, 0x00CF93000000FFFF, 0x00CF9B000000FFFF, 0x00CFF3000000FFFF, 0x00AFFB000000FFFF,
};

/* APM vol. 2, table 8-1. */
static bool pushes_error(u32 vector)
{
	return vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21 || vector == 29 || vector == 30;
}

static void set_gate(u32 vector, bool with_error)
{
	u64 stub = (u64)(with_error ? stubs_error : stubs_plain) + vector * 16;

	idt[vector] = (struct gate){ .offset_low = (u16)stub, .selector = SELECTOR_CODE, .type = GATE_PRESENT_INTERRUPT,
				     .offset_middle = (u16)(stub >> 16), .offset_high = (u32)(stub >> 32) };
}

void trap_as_interrupt(u8 vector, bool on)
{
	is_interrupt[vector] = on;
	set_gate(vector, !on && pushes_error(vector));
}

void trap_set_ist(u8 vector, u8 ist) { idt[vector].ist = ist; }

void traps_set_ist1(u64 top) { tss.ist[0] = top; }

void traps_setup(const struct trap_hooks *guest_hooks)
{
	const struct table idtr = { sizeof(idt) - 1, (u64)idt }, gdtr = { sizeof(gdt) - 1, (u64)gdt };
	u64 base = (u64)&tss;

	hooks = guest_hooks;
	for (u32 vector = 0; vector < VECTORS; vector++)
		trap_as_interrupt((u8)vector, vector >= 32 || vector == VECTOR_NMI);
	tss.rsp[0] = RSP0_TOP;
	tss.ist[0] = IST_TOP;
	tss.io_base = sizeof(tss);
	gdt[SELECTOR_TSS / 8] = (sizeof(tss) - 1) | (base & 0xFFFFFF) << 16 | 0x89ull << 40 | (base >> 24 & 0xFF) << 56;
	gdt[SELECTOR_TSS / 8 + 1] = base >> 32;
	__asm__ volatile("lgdt %0; lidt %1; ltr %w2" : : "m"(gdtr), "m"(idtr), "r"(SELECTOR_TSS));
}

void trap_record(const struct trap_frame *frame)
{
	u16 cs;
	u64 rflags;

	__asm__ volatile("mov %%cs, %0; pushfq; popq %1" : "=r"(cs), "=r"(rflags));
	trap.vector = frame->vector;
	trap.error = frame->error;
	trap.rip = frame->rip;
	trap.cs = frame->cs;
	trap.rflags = frame->rflags;
	trap.rsp = frame->rsp;
	trap.ss = frame->ss;
	trap.frame = (u64)&frame->error;
	trap.handler_cs = cs;
	trap.handler_rflags = rflags;
}

void trap_give_up(struct trap_frame *frame)
{
	frame->rip = (u64)protect_end;
	frame->rsp = protect_rsp;
	frame->cs = SELECTOR_CODE;
	frame->ss = SELECTOR_DATA;
	frame->rflags = RFLAGS_ALWAYS_1;
}

void trap_give_up_after_interrupt(void) { given_up = true; }

void interrupts_forget(void)
{
	for (u32 vector = 0; vector < VECTORS; vector++)
		interrupts[vector] = 0;
}

/* The interrupted code may be about to make a request, which the handler must not change. */
static void interrupted(u8 vector)
{
	u64 ghcb = sev() ? rdmsr(SEV_MSR_GHCB) : 0;
	u8 pending = has_svsm() ? own_calling_area()[SVSM_CAA_CALL_PENDING] : 0;

	interrupts[vector]++;
	if (on_interrupt)
		on_interrupt(vector);
	if (sev())
		wrmsr(SEV_MSR_GHCB, ghcb);
	if (has_svsm())
		own_calling_area()[SVSM_CAA_CALL_PENDING] = pending;
}

void on_trap(struct trap_frame *frame)
{
	if (is_interrupt[frame->vector]) {
		interrupted_at = frame->rip;
		interrupted((u8)frame->vector);
		if (given_up) {
			given_up = false;
			trap_give_up(frame);
		}
	} else if (hooks->exception && hooks->exception(frame)) {
		return;
	} else if (trap.resume) {
		trap_record(frame);
		frame->rip = trap.resume;
		trap.resume = 0;
	} else {
		hooks->unexpected(frame->vector, frame->error, frame->rip);
		trap_give_up(frame);
	}
}
