/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The instruction decoder: instructions that access memory. See insn.h. */
#include "insn_internal.h"

/* An immediate of a word-sized instruction: 4 bytes at most (APM vol. 3, 1.6). */
static u64 fetch_immediate(struct insn_reader *reader, u32 size)
{
	return insn_fetch_signed(reader, size < 4 ? size : 4);
}

static void set_register(struct insn *insn, const struct insn_reader *reader, u8 reg, u8 size)
{
	insn->reg = reg;
	insn->register_size = size;
	if (size != 1 || reader->has_rex || reg < 4)
		return;
	insn->reg = reg - 4;
	insn->high_byte = true;
}

/* Memory operand and register of the same size; bit 0 of the opcode is 0 for bytes. */
static bool set_operands(struct insn *insn, const struct insn_reader *reader, u8 opcode, struct insn_modrm modrm)
{
	insn->operand_size = opcode & 1 ? insn_operand_size(reader) : 1;
	set_register(insn, reader, modrm.reg, insn->operand_size);
	return modrm.mod != 3;
}

static bool decode_group1(struct insn_reader *reader, u8 opcode, struct insn *insn)
{
	struct insn_modrm modrm = insn_fetch_modrm(reader);

	if (opcode == 0x82 && reader->mode == 64)
		return false;
	insn->kind = INSN_ALU;
	insn->form = INSN_FORM_MEM_IMM;
	insn->operation = modrm.reg & 7;
	insn->operand_size = opcode & 1 ? insn_operand_size(reader) : 1;
	insn->register_size = insn->operand_size;
	insn->immediate = fetch_immediate(reader, opcode == 0x81 ? insn->operand_size : 1);
	return modrm.mod != 3;
}

/* F6 and F7: TEST, NOT, NEG; multiplications and divisions are not decoded. */
static bool decode_group3(struct insn_reader *reader, u8 opcode, struct insn *insn)
{
	struct insn_modrm modrm = insn_fetch_modrm(reader);

	insn->operand_size = opcode & 1 ? insn_operand_size(reader) : 1;
	insn->register_size = insn->operand_size;
	switch (modrm.reg & 7) {
	case 0:
	case 1:
		insn->kind = INSN_TEST;
		insn->form = INSN_FORM_MEM_IMM;
		insn->immediate = fetch_immediate(reader, insn->operand_size);
		break;
	case 2:
		insn->kind = INSN_NOT;
		break;
	case 3:
		insn->kind = INSN_NEG;
		break;
	default:
		return false;
	}
	return modrm.mod != 3;
}

/* FE and FF: INC and DEC; calls, jumps and PUSH are not decoded. */
static bool decode_group45(struct insn_reader *reader, u8 opcode, struct insn *insn)
{
	struct insn_modrm modrm = insn_fetch_modrm(reader);

	if ((modrm.reg & 7) > 1)
		return false;
	insn->kind = (modrm.reg & 7) ? INSN_DEC : INSN_INC;
	insn->operand_size = opcode & 1 ? insn_operand_size(reader) : 1;
	insn->register_size = insn->operand_size;
	return modrm.mod != 3;
}

/* C6 and C7 /0. */
static bool decode_mov_immediate(struct insn_reader *reader, u8 opcode, struct insn *insn)
{
	struct insn_modrm modrm = insn_fetch_modrm(reader);

	insn->kind = INSN_MOV_STORE_IMM;
	insn->operand_size = opcode & 1 ? insn_operand_size(reader) : 1;
	insn->register_size = insn->operand_size;
	insn->immediate = fetch_immediate(reader, insn->operand_size);
	return modrm.mod != 3 && (modrm.reg & 7) == 0;
}

/* A0-A3: the accumulator and an absolute address. */
static bool decode_mov_offset(struct insn_reader *reader, u8 opcode, struct insn *insn)
{
	insn_skip(reader, insn_address_size(reader));
	insn->kind = opcode & 2 ? INSN_MOV_STORE : INSN_MOV_LOAD;
	insn->operand_size = opcode & 1 ? insn_operand_size(reader) : 1;
	set_register(insn, reader, 0, insn->operand_size);
	return true;
}

static bool decode_string(const struct insn_reader *reader, u8 opcode, enum insn_kind kind, struct insn *insn)
{
	insn->kind = kind;
	insn->operand_size = opcode & 1 ? insn_operand_size(reader) : 1;
	insn->repeat = reader->repeat != 0;
	set_register(insn, reader, 0, insn->operand_size);
	return true;
}

/* With a 64-bit destination only: the 32 and 16-bit forms differ between vendors, and no compiler emits them. */
static bool decode_movsxd(struct insn_reader *reader, struct insn *insn)
{
	struct insn_modrm modrm = insn_fetch_modrm(reader);

	insn->kind = INSN_MOVSX;
	insn->operand_size = 4;
	set_register(insn, reader, modrm.reg, 8);
	return modrm.mod != 3 && (reader->rex & REX_W);
}

/* 00-3F, columns 0-3 of each operation; columns 4 and 5 have no memory operand. */
static bool decode_alu(struct insn_reader *reader, u8 opcode, struct insn *insn)
{
	if ((opcode & 7) > 3)
		return false;
	insn->kind = INSN_ALU;
	insn->operation = opcode >> 3;
	insn->form = opcode & 2 ? INSN_FORM_REG_MEM : INSN_FORM_MEM_REG;
	return set_operands(insn, reader, opcode, insn_fetch_modrm(reader));
}

static bool decode_one_byte(struct insn_reader *reader, u8 opcode, struct insn *insn)
{
	switch (opcode) {
	case 0x00 ... 0x3f:
		return decode_alu(reader, opcode, insn);
	case 0x63:
		return reader->mode == 64 && decode_movsxd(reader, insn);
	case 0x80 ... 0x83:
		return decode_group1(reader, opcode, insn);
	case 0x84 ... 0x85:
		insn->kind = INSN_TEST;
		return set_operands(insn, reader, opcode, insn_fetch_modrm(reader));
	case 0x86 ... 0x87:
		insn->kind = INSN_XCHG;
		return set_operands(insn, reader, opcode, insn_fetch_modrm(reader));
	case 0x88 ... 0x89:
		insn->kind = INSN_MOV_STORE;
		return set_operands(insn, reader, opcode, insn_fetch_modrm(reader));
	case 0x8a ... 0x8b:
		insn->kind = INSN_MOV_LOAD;
		return set_operands(insn, reader, opcode, insn_fetch_modrm(reader));
	case 0xa0 ... 0xa3:
		return decode_mov_offset(reader, opcode, insn);
	case 0xa4 ... 0xa5:
		return decode_string(reader, opcode, INSN_MOVS, insn);
	case 0xaa ... 0xab:
		return decode_string(reader, opcode, INSN_STOS, insn);
	case 0xac ... 0xad:
		return decode_string(reader, opcode, INSN_LODS, insn);
	case 0xc6 ... 0xc7:
		return decode_mov_immediate(reader, opcode, insn);
	case 0xf6 ... 0xf7:
		return decode_group3(reader, opcode, insn);
	case 0xfe ... 0xff:
		return decode_group45(reader, opcode, insn);
	default:
		return false;
	}
}

/* 0F B6, B7, BE, BF. */
static bool decode_extend(struct insn_reader *reader, u8 opcode, struct insn *insn)
{
	struct insn_modrm modrm = insn_fetch_modrm(reader);

	insn->kind = opcode & 8 ? INSN_MOVSX : INSN_MOVZX;
	insn->operand_size = opcode & 1 ? 2 : 1;
	set_register(insn, reader, modrm.reg, insn_operand_size(reader));
	return modrm.mod != 3;
}

/* 0F A3, AB, B3, BB. */
static bool decode_bit(struct insn_reader *reader, u8 opcode, struct insn *insn)
{
	insn->kind = INSN_BIT;
	insn->operation = (opcode >> 3) & 3;
	return set_operands(insn, reader, opcode, insn_fetch_modrm(reader));
}

/* 0F BA: the bit number is taken modulo the operand's width. */
static bool decode_bit_immediate(struct insn_reader *reader, struct insn *insn)
{
	struct insn_modrm modrm = insn_fetch_modrm(reader);

	insn->kind = INSN_BIT;
	insn->form = INSN_FORM_MEM_IMM;
	insn->operation = modrm.reg & 3;
	insn->operand_size = insn_operand_size(reader);
	insn->register_size = insn->operand_size;
	insn->immediate = insn_fetch(reader) & (8u * insn->operand_size - 1);
	return modrm.mod != 3 && (modrm.reg & 4);
}

/* 0F C3: 4 bytes in every mode, or 8. */
static bool decode_movnti(struct insn_reader *reader, struct insn *insn)
{
	struct insn_modrm modrm = insn_fetch_modrm(reader);

	insn->kind = INSN_MOV_STORE;
	insn->operand_size = reader->rex & REX_W ? 8 : 4;
	set_register(insn, reader, modrm.reg, insn->operand_size);
	return modrm.mod != 3 && !reader->operand_prefix && !reader->repeat;
}

static bool decode_two_byte(struct insn_reader *reader, u8 opcode, struct insn *insn)
{
	switch (opcode) {
	case 0xa3:
	case 0xab:
	case 0xb3:
	case 0xbb:
		return decode_bit(reader, opcode, insn);
	case 0xb0 ... 0xb1:
		insn->kind = INSN_CMPXCHG;
		return set_operands(insn, reader, opcode, insn_fetch_modrm(reader));
	case 0xb6 ... 0xb7:
	case 0xbe ... 0xbf:
		return decode_extend(reader, opcode, insn);
	case 0xba:
		return decode_bit_immediate(reader, insn);
	case 0xc0 ... 0xc1:
		insn->kind = INSN_XADD;
		return set_operands(insn, reader, opcode, insn_fetch_modrm(reader));
	case 0xc3:
		return decode_movnti(reader, insn);
	default:
		return false;
	}
}

/* APM vol. 3, 1.2.5: LOCK is for read-modify-write of memory only, else #UD. */
static bool lock_allowed(const struct insn *insn)
{
	switch (insn->kind) {
	case INSN_ALU:
		return insn->form != INSN_FORM_REG_MEM && insn->operation != INSN_ALU_CMP;
	case INSN_BIT:
		return insn->operation != INSN_BIT_TEST;
	case INSN_XCHG:
	case INSN_NOT:
	case INSN_NEG:
	case INSN_INC:
	case INSN_DEC:
	case INSN_XADD:
	case INSN_CMPXCHG:
		return true;
	default:
		return false;
	}
}

bool insn_decode(const u8 *bytes, u32 available, u32 mode_bits, struct insn *out)
{
	struct insn_reader reader = insn_start(bytes, available, mode_bits);
	struct insn insn = { .kind = INSN_UNKNOWN };
	bool known;
	u8 opcode;

	*out = insn;
	opcode = insn_fetch_prefixes(&reader);
	if (opcode == 0x0f)
		known = decode_two_byte(&reader, insn_fetch(&reader), &insn);
	else
		known = decode_one_byte(&reader, opcode, &insn);
	if (!known || reader.failed || (reader.lock && !lock_allowed(&insn)))
		return false;
	insn.length = (u8)reader.position;
	insn.address_size = insn_address_size(&reader);
	insn.lock = reader.lock;
	insn.segment = reader.segment;
	*out = insn;
	return true;
}
