/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A guest without SEV: the hypervisor reads and writes its registers. */
#include "bytes.h"
#include "guest.h"

struct vmcb_save *hw_plain_registers(struct hw_cpu *cpu) { return cpu->hw->sev ? NULL : &vmcb(cpu)->save; }
u64 *hw_plain_gprs(struct hw_cpu *cpu) { return cpu->hw->sev ? NULL : current(cpu)->gpr; }
u32 hw_plain_code(struct hw_cpu *cpu, u8 *bytes, u32 size) { return cpu->hw->sev ? 0 : guest_code(cpu, bytes, size); }
u32 hw_plain_mode(struct hw_cpu *cpu) { return guest_mode_bits(cpu); }

void hw_plain_step(struct hw_cpu *cpu, u32 length)
{
	if (!cpu->hw->sev)
		guest_skip(cpu, length);
}

void hw_plain_step_over(struct hw_cpu *cpu) { hw_plain_step(cpu, guest_instruction(cpu)->length); }
