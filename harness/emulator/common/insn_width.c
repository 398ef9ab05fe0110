/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The instruction decoder: how many bytes of memory an instruction accesses that is not decoded further. */
#include "insn_internal.h"

/* PUSH, POP, near calls and returns: 8 bytes in 64-bit mode (APM vol. 3, 1.2.7). */
static u32 stack_size(const struct insn_reader *reader)
{
	if (reader->mode == 64)
		return reader->operand_prefix ? 2 : 8;
	return insn_operand_size(reader);
}

static u32 by_bit_0(const struct insn_reader *reader, u8 opcode) { return opcode & 1 ? insn_operand_size(reader) : 1; }

/* D8-DF, by the opcode's low bits and ModRM.reg; 0: environments and states. */
static u32 x87_size(u8 opcode, u8 reg)
{
	static const u8 sizes[8][8] = {
		{ 4, 4, 4, 4, 4, 4, 4, 4 }, { 4, 0, 4, 4, 0, 2, 0, 2 },  { 4, 4, 4, 4, 4, 4, 4, 4 }, { 4, 4, 4, 4, 0, 10, 0, 10 },
		{ 8, 8, 8, 8, 8, 8, 8, 8 }, { 8, 8, 8, 8, 0, 0, 0, 2 },  { 2, 2, 2, 2, 2, 2, 2, 2 }, { 2, 2, 2, 2, 10, 8, 10, 8 },
	};

	return sizes[opcode & 7][reg & 7];
}

/* INC and DEC, near calls and jumps, PUSH; far ones have two sizes. */
static u32 group5_size(const struct insn_reader *reader, u8 reg)
{
	if (reg < 2)
		return insn_operand_size(reader);
	return reg & 1 ? 0 : stack_size(reader);
}

/* SGDT and its like, SMSW, LMSW; INVLPG accesses nothing. */
static u32 group7_size(const struct insn_reader *reader, u8 reg)
{
	if (reg < 4)
		return reader->mode == 64 ? 10 : 6;
	return reg & 1 ? 0 : 2;
}

static u32 one_byte(struct insn_reader *reader, u8 opcode)
{
	switch (opcode) {
	case 0x50 ... 0x5f:
	case 0x68:
	case 0x6a:
	case 0x8f:
	case 0x9c ... 0x9d:
	case 0xc2 ... 0xc3:
	case 0xe8:
		return stack_size(reader);
	case 0x69:
	case 0x6b:
		return insn_operand_size(reader);
	case 0x6c ... 0x6f:
		return opcode & 1 ? (insn_operand_size(reader) == 2 ? 2 : 4) : 1;
	case 0x8c:
	case 0x8e:
		return 2;
	case 0xa4 ... 0xa7:
	case 0xaa ... 0xaf:
	case 0xc0 ... 0xc1:
	case 0xd0 ... 0xd3:
	case 0xf6 ... 0xf7:
		return by_bit_0(reader, opcode);
	case 0xd7:
		return 1;
	case 0xd8 ... 0xdf:
		return x87_size(opcode, insn_fetch_modrm(reader).reg);
	case 0xff:
		return group5_size(reader, insn_fetch_modrm(reader).reg & 7);
	default:
		return 0;
	}
}

/* By the prefix that selects the form: none, 66, F3, F2. */
static u32 by_prefix(const struct insn_reader *reader, u32 none, u32 with_66, u32 with_f3, u32 with_f2)
{
	if (reader->repeat)
		return reader->repeat == PREFIX_REP ? with_f3 : with_f2;
	return reader->operand_prefix ? with_66 : none;
}

/* Of SSE those with plain loads and stores; MMX and SSE integer operations at the end. */
static u32 two_byte(struct insn_reader *reader, u8 opcode)
{
	switch (opcode) {
	case 0x00:
		return 2;
	case 0x01:
		return group7_size(reader, insn_fetch_modrm(reader).reg & 7);
	case 0x10 ... 0x11:
	case 0x2b:
	case 0x51:
	case 0x58 ... 0x59:
	case 0x5c ... 0x5f:
	case 0xc2:
		return by_prefix(reader, 16, 16, 4, 8);
	case 0x12 ... 0x13:
	case 0x16 ... 0x17:
		return by_prefix(reader, 8, 8, 16, 8);
	case 0x14 ... 0x15:
	case 0x28 ... 0x29:
	case 0x54 ... 0x57:
	case 0xc6:
		return 16;
	case 0x2e ... 0x2f:
		return by_prefix(reader, 4, 8, 0, 0);
	case 0x40 ... 0x4f:
	case 0xa4 ... 0xa5:
	case 0xac ... 0xad:
	case 0xaf:
	case 0xb8:
	case 0xbc ... 0xbd:
		return insn_operand_size(reader);
	case 0x6e:
		return reader->rex & REX_W ? 8 : 4;
	case 0x7e:
		return reader->repeat || (reader->rex & REX_W) ? 8 : 4;
	case 0x6f:
	case 0x7f:
		return by_prefix(reader, 8, 16, 16, 0);
	case 0x90 ... 0x9f:
		return 1;
	case 0xc7:
		return (insn_fetch_modrm(reader).reg & 7) == 1 ? (reader->rex & REX_W ? 16 : 8) : 0;
	case 0xd6:
		return 8;
	case 0xd1 ... 0xd5:
	case 0xd8 ... 0xe5:
	case 0xe7 ... 0xef:
	case 0xf1 ... 0xfe:
		return by_prefix(reader, 8, 16, 0, 0);
	default:
		return 0;
	}
}

u32 insn_width(const u8 *bytes, u32 available, u32 mode_bits)
{
	struct insn_reader reader = insn_start(bytes, available, mode_bits);
	u8 opcode = insn_fetch_prefixes(&reader);
	u32 width = opcode == 0x0f ? two_byte(&reader, insn_fetch(&reader)) : one_byte(&reader, opcode);

	return reader.failed ? 0 : width;
}
