/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Interrupts are taken at two places only, with an IDT of their own: the PIC may deliver any
 * vector, those of exceptions included, and an interrupt pushes no error code. Exceptions are the emulator's own.
 */
#include "interrupts.h"
#include "layout.h"

#define GATE_INTERRUPT 0x8E00 /* present, 64-bit interrupt gate */
#define CODE_SELECTOR  8
#define STUB_SIZE      8

/* stubs.S */
extern const u64 exception_table[32];
extern const u8 interrupt_stubs[];

struct gate {
	u16 offset_low, selector, attributes, offset_middle;
	u32 offset_high, reserved;
};

struct __attribute__((packed)) idt_pointer {
	u16 limit;
	u64 base;
};

static struct gate exceptions[256] __attribute__((aligned(16)));
static struct gate interrupts[256] __attribute__((aligned(16)));
static const struct idt_pointer exceptions_pointer = { sizeof(exceptions) - 1, (u64)exceptions };
static const struct idt_pointer interrupts_pointer = { sizeof(interrupts) - 1, (u64)interrupts };

static void load(const struct idt_pointer *pointer) { __asm__ volatile("lidt %0" : : "m"(*pointer)); }

static void set_gate(struct gate *gate, u64 handler)
{
	*gate = (struct gate){ .offset_low = (u16)handler, .selector = CODE_SELECTOR, .attributes = GATE_INTERRUPT,
			       .offset_middle = (u16)(handler >> 16), .offset_high = (u32)(handler >> 32) };
}

void interrupts_setup(void)
{
	for (u32 i = 0; i < 32; i++)
		set_gate(&exceptions[i], exception_table[i]);
	for (u32 i = 0; i < 256; i++)
		set_gate(&interrupts[i], (u64)interrupt_stubs + i * STUB_SIZE);
	load(&exceptions_pointer);
}

void interrupts_on_this_processor(void) { load(&interrupts_pointer); }

/* Take pending interrupts and NMIs. Otherwise the emulator runs with GIF 0 and IF 1. */
void interrupts_take(void)
{
	load(&interrupts_pointer);
	__asm__ volatile("stgi; nop; nop; clgi" : : : "memory");
	load(&exceptions_pointer);
}

/* Sleep until an interrupt was taken: STI's shadow closes the gap before HLT. */
void interrupts_wait(void)
{
	load(&interrupts_pointer);
	__asm__ volatile("cli; stgi; sti; hlt; clgi" : : : "memory");
	load(&exceptions_pointer);
}

struct exception_frame {
	u64 vector, error, rip, cs, rflags, rsp, ss;
};

/* msr_safe.S */
extern const u8 msr_read_safe_insn[], msr_write_safe_insn[], msr_safe_failed[];

void host_exception(struct exception_frame *frame); /* from stubs.S */

/* A fault in the emulator: of an MSR access for the guest it is expected, else it is the end. */
void host_exception(struct exception_frame *frame)
{
	struct vcpu *vcpu = *(struct vcpu **)(((u64)frame | (STACK_SIZE - 1)) - 7);
	u64 cr2;

	if (frame->rip == (u64)msr_read_safe_insn || frame->rip == (u64)msr_write_safe_insn) {
		frame->rip = (u64)msr_safe_failed;
		return;
	}
	__asm__ volatile("mov %%cr2, %0" : "=r"(cr2));
	hw_log(vcpu->cpu, (struct record){ .kind = RECORD_END, .rip = frame->rip,
					 .address = frame->vector == X86_DB ? RECORD_END_BREAKPOINT : RECORD_END_HOST_FAULT,
					 .value = frame->vector, .extra = cr2, .aux = (u32)frame->error });
	machine_halt();
}
