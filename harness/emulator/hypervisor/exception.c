/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Exceptions of the emulator. */
#include "layout.h"
#include "vcpu.h"

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
	hw_log(vcpu->cpu, (struct record){ .kind = RECORD_END, .rip = frame->rip, .address = RECORD_END_HOST_FAULT,
					 .value = frame->vector, .extra = cr2, .aux = (u32)frame->error });
	machine_halt();
}
