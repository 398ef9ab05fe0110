/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The instruction decoder: moves to CRn, and instructions that are stepped over. */
#include "insn_internal.h"

bool insn_decode_cr_write(const u8 *bytes, u32 available, u32 mode_bits, u8 *cr, u8 *gpr, u8 *length)
{
	struct insn_reader reader = insn_start(bytes, available, mode_bits);
	u8 modrm;

	if (insn_fetch_prefixes(&reader) != 0x0f || insn_fetch(&reader) != 0x22)
		return false;
	modrm = insn_fetch(&reader); /* the mod field is ignored: always registers (APM vol. 3, MOV CRn) */
	*cr = ((modrm >> 3) & 7) | (reader.rex & REX_R ? 8 : 0);
	*gpr = (modrm & 7) | (reader.rex & REX_B ? 8 : 0);
	if (reader.failed || (reader.lock && *cr != 0))
		return false;
	if (reader.lock) /* AltMovCr8: LOCK MOV CR0 is CR8 */
		*cr = 8;
	*length = (u8)reader.position;
	return *cr == 0 || *cr == 2 || *cr == 3 || *cr == 4 || *cr == 8;
}

/* 0F 01 with a register ModRM, by repeat prefix: none, F2, F3. */
struct simple_group7 {
	u8 modrm;
	u8 none;
	u8 repne;
	u8 rep;
};

static const struct simple_group7 group7[] = {
	{ 0xc8, INSN_SIMPLE_MONITOR, 0, 0 },
	{ 0xc9, INSN_SIMPLE_MWAIT, 0, 0 },
	{ 0xd1, INSN_SIMPLE_XSETBV, 0, 0 },
	{ 0xd9, INSN_SIMPLE_VMMCALL, INSN_SIMPLE_VMGEXIT, INSN_SIMPLE_VMGEXIT },
	{ 0xdf, INSN_SIMPLE_INVLPGA, 0, 0 },
	{ 0xf9, INSN_SIMPLE_RDTSCP, 0, 0 },
	{ 0xfa, INSN_SIMPLE_MONITORX, 0, 0 },
	{ 0xfb, INSN_SIMPLE_MWAITX, 0, 0 },
	{ 0xfd, INSN_SIMPLE_RDPRU, 0, INSN_SIMPLE_RMPQUERY },
	{ 0xfe, INSN_SIMPLE_INVLPGB, INSN_SIMPLE_RMPUPDATE, INSN_SIMPLE_RMPADJUST },
	{ 0xff, INSN_SIMPLE_TLBSYNC, INSN_SIMPLE_PVALIDATE, INSN_SIMPLE_PSMASH },
};

static enum insn_simple decode_group7(struct insn_reader *reader)
{
	u8 byte = reader->position < reader->limit ? reader->bytes[reader->position] : 0;
	struct insn_modrm modrm = insn_fetch_modrm(reader);

	if (modrm.mod != 3)
		return (modrm.reg & 7) == 7 ? INSN_SIMPLE_INVLPG : INSN_SIMPLE_UNKNOWN;
	for (u32 i = 0; i < sizeof(group7) / sizeof(group7[0]); i++) {
		if (group7[i].modrm != byte)
			continue;
		if (reader->repeat == PREFIX_REPNE)
			return group7[i].repne;
		return reader->repeat == PREFIX_REP ? group7[i].rep : group7[i].none;
	}
	return INSN_SIMPLE_UNKNOWN;
}

static enum insn_simple simple_two_byte(struct insn_reader *reader)
{
	switch (insn_fetch(reader)) {
	case 0x01:
		return decode_group7(reader);
	case 0x08:
		return INSN_SIMPLE_INVD;
	case 0x09:
		return reader->repeat == PREFIX_REP ? INSN_SIMPLE_WBNOINVD : INSN_SIMPLE_WBINVD;
	case 0x30:
		return INSN_SIMPLE_WRMSR;
	case 0x31:
		return INSN_SIMPLE_RDTSC;
	case 0x32:
		return INSN_SIMPLE_RDMSR;
	case 0x33:
		return INSN_SIMPLE_RDPMC;
	case 0xa2:
		return INSN_SIMPLE_CPUID;
	default:
		return INSN_SIMPLE_UNKNOWN;
	}
}

static enum insn_simple simple_one_byte(const struct insn_reader *reader, u8 opcode)
{
	if (opcode == 0xf4)
		return INSN_SIMPLE_HLT;
	if (opcode == 0x90 && reader->repeat == PREFIX_REP && !(reader->rex & REX_B)) /* else XCHG with r8 */
		return INSN_SIMPLE_PAUSE;
	return INSN_SIMPLE_UNKNOWN;
}

enum insn_simple insn_decode_simple(const u8 *bytes, u32 available, u32 mode_bits, u8 *length)
{
	struct insn_reader reader = insn_start(bytes, available, mode_bits);
	enum insn_simple which;
	u8 opcode;

	*length = 0;
	opcode = insn_fetch_prefixes(&reader);
	which = opcode == 0x0f ? simple_two_byte(&reader) : simple_one_byte(&reader, opcode);
	if (reader.failed || reader.lock || which == INSN_SIMPLE_UNKNOWN)
		return INSN_SIMPLE_UNKNOWN;
	*length = (u8)reader.position;
	return which;
}
