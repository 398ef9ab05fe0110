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

static enum insn_simple decode_group7(struct insn_reader *reader)
{
	switch (insn_fetch(reader)) {
	case 0xd9:
		return reader->repeat ? INSN_SIMPLE_VMGEXIT : INSN_SIMPLE_VMMCALL;
	case 0xf9:
		return reader->repeat ? INSN_SIMPLE_UNKNOWN : INSN_SIMPLE_RDTSCP;
	case 0xfe:
		if (!reader->repeat)
			return INSN_SIMPLE_INVLPGB;
		return reader->repeat == PREFIX_REP ? INSN_SIMPLE_RMPADJUST : INSN_SIMPLE_UNKNOWN;
	case 0xff:
		if (!reader->repeat)
			return INSN_SIMPLE_TLBSYNC;
		return reader->repeat == PREFIX_REPNE ? INSN_SIMPLE_PVALIDATE : INSN_SIMPLE_UNKNOWN;
	default:
		return INSN_SIMPLE_UNKNOWN;
	}
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
	case 0xa2:
		return INSN_SIMPLE_CPUID;
	case 0xb9:
		return insn_fetch(reader) == 0xc0 && !reader->repeat ? INSN_SIMPLE_RMP_BATCH : INSN_SIMPLE_UNKNOWN;
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
