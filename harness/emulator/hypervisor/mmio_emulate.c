/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "insn.h"
#include "mmio.h"

static u64 gpr(struct vcpu *vcpu, u32 reg)
{
	const struct vmcb_save *save = hw_plain_registers(vcpu->cpu);

	if (reg == HW_RAX)
		return save->rax;
	return reg == HW_RSP ? save->rsp : hw_plain_gprs(vcpu->cpu)[reg & 15];
}

static void set_gpr(struct vcpu *vcpu, u32 reg, u64 value)
{
	struct vmcb_save *save = hw_plain_registers(vcpu->cpu);

	if (reg == HW_RAX)
		save->rax = value;
	else if (reg == HW_RSP)
		save->rsp = value;
	else
		hw_plain_gprs(vcpu->cpu)[reg & 15] = value;
}

static u64 register_value(struct vcpu *vcpu, const struct insn *insn)
{
	u64 value = gpr(vcpu, insn->reg);

	return insn->high_byte ? value >> 8 : value;
}

/* Write `size` bytes of a register: 4 clear the upper half, 1 and 2 keep the rest (APM vol. 1, 3.1.2). */
static void set_register(struct vcpu *vcpu, u32 reg, u32 size, bool high_byte, u64 value)
{
	u64 old = gpr(vcpu, reg);

	if (high_byte)
		value = (old & ~0xFF00ull) | (value & 0xFF) << 8;
	else if (size == 1)
		value = (old & ~0xFFull) | (value & 0xFF);
	else if (size == 2)
		value = (old & ~0xFFFFull) | (value & 0xFFFF);
	else if (size == 4)
		value = (u32)value;
	set_gpr(vcpu, reg, value);
}

/* The access crosses an edge of the page, or may have begun before it: the #NPF does not tell. */
static bool may_cross(u64 gpa, u32 size)
{
	u32 offset = gpa & (PAGE_SIZE - 1);

	return size > 1 && (!offset || offset + size > PAGE_SIZE);
}

static bool is_string(enum insn_kind kind) { return kind == INSN_STOS || kind == INSN_LODS || kind == INSN_MOVS; }

void mmio_emulate(struct vcpu *vcpu, u64 gpa, u64 info)
{
	u8 code[INSN_MAX_LENGTH] = { 0 };
	u32 available = hw_plain_code(vcpu->cpu, code, sizeof(code));
	u64 pc = hw_observe_pc(vcpu->cpu);
	struct insn_values values;
	struct insn insn;
	u32 writes;

	if (info & SVM_NPF_FETCH) /* KVM stops the guest as well */
		hw_stop(vcpu->cpu, RECORD_END_INSTRUCTION, *(a64 *)code, gpa);
	/* The other operand of a string instruction would need a page walk; so would an event's delivery. */
	if (vcpu->stepping || hw_event_pending(vcpu->cpu) || (info & SVM_NPF_TABLE_WALK) ||
	    !insn_decode(code, available, hw_plain_mode(vcpu->cpu), &insn) || is_string(insn.kind) || may_cross(gpa, insn.operand_size)) {
		mmio_step(vcpu, gpa, info & SVM_NPF_WRITE);
		return;
	}
	values = (struct insn_values){ .reg = register_value(vcpu, &insn), .accumulator = gpr(vcpu, HW_RAX),
				       .rflags = hw_plain_registers(vcpu->cpu)->rflags };
	if (insn_reads_memory(&insn))
		mmio_access(vcpu, gpa, insn.operand_size, false, &values.memory, pc);
	writes = insn_execute(&insn, &values);
	if (writes & INSN_WRITES_MEMORY)
		mmio_access(vcpu, gpa, insn.operand_size, true, &values.memory, pc);
	if (writes & INSN_WRITES_REGISTER)
		set_register(vcpu, insn.reg, insn.register_size, insn.high_byte, values.reg);
	if (writes & INSN_WRITES_ACCUMULATOR)
		set_register(vcpu, HW_RAX, insn.operand_size, false, values.accumulator);
	hw_plain_registers(vcpu->cpu)->rflags = values.rflags;
	hw_plain_step(vcpu->cpu, insn.length);
}
