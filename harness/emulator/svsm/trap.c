/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "trap.h"

#include "console.h"
#include "ghcb_call.h"
#include "layout.h"
#include "run_vmpl.h"
#include "sev.h"
#include "x86.h"

#define SELECTOR_CODE 0x08

struct gate {
	u16 offset_low;
	u16 selector;
	u8 ist;
	u8 attributes;
	u16 offset_middle;
	u32 offset_high;
	u32 reserved;
};
#define GATE_INTERRUPT 0x8E /* present, DPL 0, 64-bit interrupt gate */

/* Distances from the field itself, so that the table needs no relocation. */
struct ex_entry {
	int32_t instruction;
	int32_t resume;
};

extern const struct ex_entry svsm_ex_table[], svsm_ex_table_end[];
extern const u8 trap_stubs[];

/* The selectors that the host enters with: 08 64-bit code, 10 data. */
static const u64 gdt[] = { 0, 0x00AF9B000000FFFFull, 0x00CF93000000FFFFull };
static struct gate idt[TRAP_VECTORS] __attribute__((aligned(16)));

void trap_init(void)
{
	for (u32 i = 0; i < TRAP_VECTORS; i++) {
		u64 stub = (u64)trap_stubs + (u64)i * TRAP_STUB_SIZE;

		idt[i] = (struct gate){
			.offset_low = (u16)stub,
			.selector = SELECTOR_CODE,
			.attributes = GATE_INTERRUPT,
			.offset_middle = (u16)(stub >> 16),
			.offset_high = (u32)(stub >> 32),
		};
	}
}

void trap_load(void)
{
	const struct descriptor_table gdtr = { .limit = sizeof(gdt) - 1, .base = (u64)gdt };
	const struct descriptor_table idtr = { .limit = sizeof(idt) - 1, .base = (u64)idt };

	lgdt(&gdtr);
	lidt(&idtr);
}

static bool resume(struct trap_frame *frame)
{
	for (const struct ex_entry *entry = svsm_ex_table; entry < svsm_ex_table_end; entry++) {
		if (frame->rip == (u64)&entry->instruction + (u64)(i64)entry->instruction) {
			frame->rip = (u64)&entry->resume + (u64)(i64)entry->resume;
			return true;
		}
	}
	return false;
}

void trap_handle(struct trap_frame *frame)
{
	struct vcpu *vcpu = vcpu_current();

	/* The events of a #HV are in the doorbell page, which the request loop reads before the next run of the guest. */
	if (frame->vector == SEV_VECTOR_HV) {
		frame->rip = run_vmpl_after_signal(frame->rip);
		return;
	}
	if (resume(frame))
		return;
	if (!vcpu->in_trap) {
		vcpu->in_trap = true; /* the console itself may have faulted */
		console_line(vcpu, "SVSM: exception %lu, error code %lx, at offset %lx, CR2 %lx, RSP %lx: ends the guest",
			     frame->vector, frame->error, frame->rip - vcpu->svsm->boot.base, read_cr2(), frame->rsp);
	}
	ghcb_terminate(SVSM_TERM_EXCEPTION);
}
