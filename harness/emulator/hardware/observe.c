/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An access to a local APIC is what the processor does, not what the hypervisor is asked for: a #VC handler may answer
 * it without a VMGEXIT. So it is recorded at the #VMEXIT. An answer, of the hypervisor or of the SVSM, names it: the
 * last access to that register, in that direction, that has no answer yet. One that gets none was answered by the guest.
 */
#include "observe.h"
#include "apic.h"
#include "guest.h"
#include "insn.h"

#define PAGE_OF(gpa)  ((gpa) & ~(PAGE_SIZE - 1))
#define WIDEST_ACCESS 64 /* bytes of an instruction's operand: XSAVE and its like make several accesses */

enum direction { DIRECTION_READ = 1, DIRECTION_WRITE = 2 };

static enum direction direction(bool write) { return write ? DIRECTION_WRITE : DIRECTION_READ; }

static void begin(struct hw_cpu *cpu, struct record record, u8 directions)
{
	struct hw_vmpl *state = current(cpu);
	struct hw_open *open = &state->open[state->opened++ % OPEN_ACCESSES];

	cpu->machine->account->accesses++;
	hw_observe_code(cpu, hw_observe_pc(cpu));
	record.kind = RECORD_ACCESS;
	record.rip = hw_observe_pc(cpu);
	record.extra = state->vmcb->control.exit_info1;
	record.aux = state->apic_mode;
	*open = (struct hw_open){ .address = record.address, .pc = record.rip, .path = record.path, .directions = directions };
	open->seq = (u32)hw_log(cpu, record);
	cpu->machine->account->recorded++;
}

void observe_msr(struct hw_cpu *cpu)
{
	const struct hw_vmpl *state = current(cpu);
	bool write = state->vmcb->control.exit_info1 & 1;
	u32 msr = (u32)state->gpr[HW_RCX];

	if (msr != MSR_APIC_BASE && (msr < MSR_X2APIC_FIRST || msr > MSR_X2APIC_LAST))
		return;
	begin(cpu, (struct record){ .address = msr, .path = RECORD_PATH_MSR, .size = 8,
				    .value = write ? (u32)state->vmcb->save.rax | state->gpr[HW_RDX] << 32 : 0,
				    .flags = write ? RECORD_WRITE | RECORD_VALUE : 0 }, (u8)direction(write));
}

bool hw_observe_is_apic_page(struct hw_cpu *cpu, u64 gpa)
{
	return PAGE_OF(gpa) == APIC_DEFAULT_BASE || PAGE_OF(gpa) == current(cpu)->apic_page;
}

static u64 stored(struct hw_cpu *cpu, const struct insn *insn)
{
	u64 value = insn->kind == INSN_MOV_STORE ? guest_gpr(cpu, insn->reg) : insn->immediate;

	if (insn->high_byte)
		value >>= 8;
	return insn->operand_size < 8 ? value & (BIT(8 * insn->operand_size) - 1) : value;
}

/* Size, and the value of a plain store. Not of an access that the instruction's decoding does not show. */
static void describe(struct hw_cpu *cpu, struct record *record)
{
	const struct vmcb_control *control = &vmcb(cpu)->control;
	u8 code[INSN_MAX_LENGTH] = { 0 };
	struct insn insn;

	if ((control->exit_int_info & SVM_EVENT_VALID) || (control->exit_info1 & (SVM_NPF_TABLE_WALK | SVM_NPF_FETCH)))
		return;
	if (!insn_decode(code, guest_code(cpu, code, sizeof(code)), guest_mode_bits(cpu), &insn))
		return;
	record->size = insn.operand_size;
	if (insn.kind != INSN_MOV_STORE && insn.kind != INSN_MOV_STORE_IMM)
		return;
	record->value = stored(cpu, &insn);
	record->flags |= RECORD_VALUE;
}

/* The access may begin before the page, or name its first byte there because the page before it was reached. */
void observe_mmio(struct hw_cpu *cpu, u64 gpa)
{
	bool write = vmcb(cpu)->control.exit_info1 & SVM_NPF_WRITE;
	struct record record = { .address = gpa, .path = RECORD_PATH_MMIO, .flags = write ? RECORD_WRITE : 0 };

	if (!hw_observe_is_apic_page(cpu, gpa)) {
		if (!hw_observe_is_apic_page(cpu, gpa + WIDEST_ACCESS - 1))
			return;
		describe(cpu, &record);
		if (record.size && PAGE_OF(gpa + record.size - 1) == PAGE_OF(gpa))
			return;
		record.address = PAGE_OF(gpa + WIDEST_ACCESS - 1);
		if (record.size)
			record.size -= (u8)(record.address - gpa);
		record.flags &= (u8)~RECORD_VALUE;
		record.value = 0;
	} else {
		describe(cpu, &record);
	}
	begin(cpu, record, DIRECTION_READ | DIRECTION_WRITE);
}

void hw_observe_apic_base(struct hw_cpu *cpu, u32 vmpl, u64 base)
{
	cpu->state[vmpl].apic_page = base & APIC_BASE_ADDRESS;
	cpu->state[vmpl].apic_mode = APIC_BASE_MODE(base);
}

u32 hw_observe_answer(struct hw_cpu *cpu, enum record_path path, u64 address, bool write, u64 *pc)
{
	struct hw_vmpl *state = current(cpu);

	for (u32 i = 1; i <= OPEN_ACCESSES; i++) {
		struct hw_open *open = &state->open[(state->opened - i) % OPEN_ACCESSES];

		if (open->path != path || open->address != address)
			continue;
		if (!(open->directions & direction(write))) { /* another request of the same handler */
			if (open->pc == hw_observe_vc_pc(cpu, path == RECORD_PATH_MSR ? SVM_EXIT_MSR : SVM_EXIT_NPF))
				*pc = open->pc;
			continue;
		}
		open->directions &= (u8)~direction(write);
		*pc = open->pc;
		return open->seq << RECORD_ANSWERS_SHIFT;
	}
	hw_observe_code(cpu, *pc); /* no access came before it */
	return 0;
}
