/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the decoded instructions do to values and flags. See insn.h. */
#include "insn.h"
#include "rflags.h"

#define RFLAGS_ARITHMETIC (RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_OF)

static u64 mask_of(u32 size)
{
	return size == 8 ? ~0ull : BIT(8 * size) - 1;
}

static u64 sign_of(u32 size)
{
	return BIT(8 * size - 1);
}

static u64 sign_extend(u64 value, u32 size)
{
	u64 sign = sign_of(size);

	return ((value & mask_of(size)) ^ sign) - sign;
}

/* ZF, SF and PF of a result. PF is of its low byte, set for an even number of ones. */
static u64 result_flags(u64 result, u32 size)
{
	u64 flags = 0;

	if (!(result & mask_of(size)))
		flags |= RFLAGS_ZF;
	if (result & sign_of(size))
		flags |= RFLAGS_SF;
	if (!__builtin_parity((u8)result))
		flags |= RFLAGS_PF;
	return flags;
}

static void set_flags(u64 *rflags, u64 affected, u64 flags)
{
	*rflags = (*rflags & ~affected) | (flags & affected);
}

/* a + b + carry. The carries out of each bit are in `carries`. */
static u64 add(u64 a, u64 b, u64 carry, u32 size, u64 *flags)
{
	u64 result = (a + b + carry) & mask_of(size);
	u64 carries = (a & b) | ((a | b) & ~result);

	*flags = result_flags(result, size);
	if (carries & sign_of(size))
		*flags |= RFLAGS_CF;
	if (carries & 8)
		*flags |= RFLAGS_AF;
	if ((a ^ result) & (b ^ result) & sign_of(size))
		*flags |= RFLAGS_OF;
	return result;
}

/* a - b - borrow. */
static u64 subtract(u64 a, u64 b, u64 borrow, u32 size, u64 *flags)
{
	u64 result = (a - b - borrow) & mask_of(size);
	u64 borrows = (~a & b) | ((~a | b) & result);

	*flags = result_flags(result, size);
	if (borrows & sign_of(size))
		*flags |= RFLAGS_CF;
	if (borrows & 8)
		*flags |= RFLAGS_AF;
	if ((a ^ b) & (a ^ result) & sign_of(size))
		*flags |= RFLAGS_OF;
	return result;
}

/* The logical operations clear CF and OF; AF is undefined, and cleared as processors do. */
static u64 logic(u64 result, u32 size, u64 *flags)
{
	result &= mask_of(size);
	*flags = result_flags(result, size);
	return result;
}

static u64 alu(enum insn_alu operation, u64 a, u64 b, u32 size, u64 *rflags)
{
	u64 carry = *rflags & RFLAGS_CF;
	u64 result = a;
	u64 flags = 0;

	switch (operation) {
	case INSN_ALU_ADD:
		result = add(a, b, 0, size, &flags);
		break;
	case INSN_ALU_OR:
		result = logic(a | b, size, &flags);
		break;
	case INSN_ALU_ADC:
		result = add(a, b, carry, size, &flags);
		break;
	case INSN_ALU_SBB:
		result = subtract(a, b, carry, size, &flags);
		break;
	case INSN_ALU_AND:
		result = logic(a & b, size, &flags);
		break;
	case INSN_ALU_SUB:
	case INSN_ALU_CMP:
		result = subtract(a, b, 0, size, &flags);
		break;
	case INSN_ALU_XOR:
		result = logic(a ^ b, size, &flags);
		break;
	}
	set_flags(rflags, RFLAGS_ARITHMETIC, flags);
	return result;
}

static u32 execute_alu(const struct insn *insn, struct insn_values *values)
{
	bool to_register = insn->form == INSN_FORM_REG_MEM;
	u64 source = insn->form == INSN_FORM_MEM_IMM ? insn->immediate : values->reg;
	u64 a = to_register ? values->reg : values->memory;
	u64 b = to_register ? values->memory : source;
	u64 mask = mask_of(insn->operand_size);
	u64 result = alu(insn->operation, a & mask, b & mask, insn->operand_size, &values->rflags);

	if (insn->operation == INSN_ALU_CMP)
		return 0;
	if (to_register) {
		values->reg = result;
		return INSN_WRITES_REGISTER;
	}
	values->memory = result;
	return INSN_WRITES_MEMORY;
}

static u32 execute_test(const struct insn *insn, struct insn_values *values)
{
	u64 source = insn->form == INSN_FORM_MEM_IMM ? insn->immediate : values->reg;

	alu(INSN_ALU_AND, values->memory, source, insn->operand_size, &values->rflags);
	return 0;
}

/* CF is the bit as it was; processors do not change the other flags. */
static u32 execute_bit(const struct insn *insn, struct insn_values *values)
{
	u64 source = insn->form == INSN_FORM_MEM_IMM ? insn->immediate : values->reg;
	u64 bit = BIT(source & (8u * insn->operand_size - 1));

	set_flags(&values->rflags, RFLAGS_CF, values->memory & bit ? RFLAGS_CF : 0);
	switch (insn->operation) {
	case INSN_BIT_SET:
		values->memory |= bit;
		return INSN_WRITES_MEMORY;
	case INSN_BIT_RESET:
		values->memory &= ~bit;
		return INSN_WRITES_MEMORY;
	case INSN_BIT_COMPLEMENT:
		values->memory ^= bit;
		return INSN_WRITES_MEMORY;
	default:
		return 0;
	}
}

/* INC and DEC do not change CF. */
static u32 execute_step(const struct insn *insn, struct insn_values *values)
{
	u64 flags;

	if (insn->kind == INSN_INC)
		values->memory = add(values->memory, 1, 0, insn->operand_size, &flags);
	else
		values->memory = subtract(values->memory, 1, 0, insn->operand_size, &flags);
	set_flags(&values->rflags, RFLAGS_ARITHMETIC & ~RFLAGS_CF, flags);
	return INSN_WRITES_MEMORY;
}

static u32 execute_xadd(const struct insn *insn, struct insn_values *values)
{
	u64 old = values->memory;

	values->memory = alu(INSN_ALU_ADD, old, values->reg, insn->operand_size, &values->rflags);
	values->reg = old;
	return INSN_WRITES_MEMORY | INSN_WRITES_REGISTER;
}

/* Memory is written in either case, as by the processor (APM vol. 3, CMPXCHG). */
static u32 execute_cmpxchg(const struct insn *insn, struct insn_values *values)
{
	u64 mask = mask_of(insn->operand_size);

	alu(INSN_ALU_CMP, values->accumulator & mask, values->memory, insn->operand_size, &values->rflags);
	if (!(values->rflags & RFLAGS_ZF)) {
		values->accumulator = values->memory;
		return INSN_WRITES_MEMORY | INSN_WRITES_ACCUMULATOR;
	}
	values->memory = values->reg;
	return INSN_WRITES_MEMORY;
}

static u32 execute(const struct insn *insn, struct insn_values *values)
{
	u64 old = values->memory;

	switch (insn->kind) {
	case INSN_MOV_LOAD:
	case INSN_MOVZX:
	case INSN_LODS:
		values->reg = old;
		return INSN_WRITES_REGISTER;
	case INSN_MOVSX:
		values->reg = sign_extend(old, insn->operand_size);
		return INSN_WRITES_REGISTER;
	case INSN_MOV_STORE:
	case INSN_STOS:
		values->memory = values->reg;
		return INSN_WRITES_MEMORY;
	case INSN_MOV_STORE_IMM:
		values->memory = insn->immediate;
		return INSN_WRITES_MEMORY;
	case INSN_MOVS:
		return INSN_WRITES_MEMORY;
	case INSN_XCHG:
		values->memory = values->reg;
		values->reg = old;
		return INSN_WRITES_MEMORY | INSN_WRITES_REGISTER;
	case INSN_ALU:
		return execute_alu(insn, values);
	case INSN_TEST:
		return execute_test(insn, values);
	case INSN_BIT:
		return execute_bit(insn, values);
	case INSN_NOT:
		values->memory = ~old;
		return INSN_WRITES_MEMORY;
	case INSN_NEG:
		values->memory = alu(INSN_ALU_SUB, 0, old, insn->operand_size, &values->rflags);
		return INSN_WRITES_MEMORY;
	case INSN_INC:
	case INSN_DEC:
		return execute_step(insn, values);
	case INSN_XADD:
		return execute_xadd(insn, values);
	case INSN_CMPXCHG:
		return execute_cmpxchg(insn, values);
	default:
		return 0;
	}
}

u32 insn_execute(const struct insn *insn, struct insn_values *values)
{
	u32 writes;

	values->memory &= mask_of(insn->operand_size);
	writes = execute(insn, values);
	values->memory &= mask_of(insn->operand_size);
	values->reg &= mask_of(insn->register_size);
	return writes;
}

bool insn_reads_memory(const struct insn *insn)
{
	return insn->kind != INSN_MOV_STORE && insn->kind != INSN_MOV_STORE_IMM && insn->kind != INSN_STOS;
}
