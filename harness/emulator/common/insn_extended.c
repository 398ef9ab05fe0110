/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The instruction decoder: instructions with a memory operand that TCG does not know. See insn.h. */
#include "insn_internal.h"

bool insn_decode_extended(const u8 *bytes, u32 available, u32 mode_bits, struct insn_extended *out)
{
	struct insn_reader reader = insn_start(bytes, available, mode_bits);
	struct insn_modrm modrm;
	u8 opcode, operation;

	*out = (struct insn_extended){ 0 };
	if (insn_fetch_prefixes(&reader) != 0x0f)
		return false;
	opcode = insn_fetch(&reader);
	modrm = insn_fetch_modrm(&reader);
	operation = modrm.reg & 7;
	if (opcode == 0xc7 && operation >= 3 && operation <= 5)
		out->which = INSN_XRSTORS + operation - 3;
	else if (opcode == 0xae && operation == 5)
		out->which = INSN_XRSTOR;
	else
		return false;
	if (modrm.mod == 3 || reader.failed || reader.lock || reader.repeat || reader.operand_prefix)
		return false;
	out->length = (u8)reader.position;
	out->wide = reader.rex & REX_W;
	out->address = modrm.address;
	return true;
}
