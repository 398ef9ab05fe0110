/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Records about a vCPU, and how a run ends. */
#include "cpu.h"

#define PUBLISH_EXITS 256 /* exits between two updates of the counters in the ring's header, which is on another page */

static u8 mode_flags(const struct hw_cpu *cpu)
{
	const struct vmcb_save *save = &vmcb(cpu)->save;
	u8 flags = 0;

	if (save->cr0 & CR0_PE)
		flags |= RECORD_CR0_PE;
	if (save->cr0 & CR0_PG)
		flags |= RECORD_CR0_PG;
	if (save->efer & EFER_LMA)
		flags |= RECORD_EFER_LMA;
	return flags | (u8)(save->cpl << RECORD_CPL_SHIFT);
}

u64 hw_log(struct hw_cpu *cpu, struct record record)
{
	record.vcpu = (u8)cpu->index;
	record.vmpl = cpu->vmpl;
	if (vmcb(cpu))
		record.flags |= mode_flags(cpu);
	return ring_write(cpu->machine, &record);
}

void hw_log_halted(struct hw_cpu *cpu, bool halted)
{
	cpu->machine->ring->halted = halted && vmcb(cpu) ? hw_observe_pc(cpu) : 0;
}

static void log_text(struct hw_cpu *cpu, const char *text, u32 line)
{
	struct record record = { .kind = RECORD_TEXT, .aux = line };
	u8 *to = (u8 *)&record.rip;

	for (u32 i = 0; i < 32 && text[i]; i++)
		to[i] = (u8)text[i];
	hw_log(cpu, record);
}

static void publish_exits(struct hw_cpu *cpu)
{
	struct record_ring *ring = cpu->machine->ring;

	for (u32 code = 0; code < EXIT_CODES; code++) {
		ring->exit_count[code] += cpu->exit_count[code];
		cpu->exit_count[code] = 0;
	}
	ring->exit_count[IN_PLACE_COUNT] = cpu->hw->in_place.answered;
	ring->exits += cpu->exits;
	cpu->exits = 0;
}

void log_exit(struct hw_cpu *cpu, u64 code)
{
	cpu->exit_count[code < 0xFE ? code : code == SVM_EXIT_NPF ? 0xFE : 0xFF]++;
	if (++cpu->exits == PUBLISH_EXITS)
		publish_exits(cpu);
}

static void log_statistics(struct hw_cpu *cpu)
{
	const struct record_ring *ring = cpu->machine->ring;

	publish_exits(cpu);
	for (u32 code = 0; code < EXIT_CODES; code++) {
		if (ring->exit_count[code])
			hw_log(cpu, (struct record){ .kind = RECORD_STATS, .address = code, .value = ring->exit_count[code] });
	}
}

void hw_stop(struct hw_cpu *cpu, enum record_end reason, u64 value, u64 extra)
{
	u64 pc = vmcb(cpu) ? hw_observe_pc(cpu) : 0;

	log_statistics(cpu);
	hw_log(cpu, (struct record){ .kind = RECORD_END, .rip = pc, .address = reason, .value = value, .extra = extra,
				     .aux = vmcb(cpu) ? (u32)vmcb(cpu)->control.exit_code : 0 });
	machine_halt();
}

void hw_fail(struct hw_cpu *cpu, const char *text, u32 line)
{
	log_text(cpu, text, line);
	hw_log(cpu, (struct record){ .kind = RECORD_END, .address = RECORD_END_ASSERT, .value = line });
	machine_halt();
}
