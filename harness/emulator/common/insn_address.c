/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The instruction decoder: ModRM, SIB and displacement (APM vol. 3, 1.4). */
#include "insn_internal.h"

enum { RBX = 3, RSP = 4, RBP = 5, RSI = 6, RDI = 7 };

static bool is_on_stack(u8 base) { return base == RSP || base == RBP; }

static void address16(struct insn_reader *reader, u8 mod, u8 rm, struct insn_address *address)
{
	static const u8 bases[] = { RBX, RBX, RBP, RBP, RSI, RDI, RBP, RBX };
	static const u8 indexes[] = { RSI, RDI, RSI, RDI };
	u32 displacement = mod;

	address->base = bases[rm];
	if (rm < 4)
		address->index = indexes[rm];
	if (mod == 0 && rm == 6) {
		address->base = INSN_NO_REGISTER;
		displacement = 2;
	}
	if (displacement)
		address->displacement = insn_fetch_signed(reader, displacement);
}

/* `base` is rm, or the SIB byte's base. */
static void address32(struct insn_reader *reader, u8 mod, u8 base, bool has_sib, struct insn_address *address)
{
	u32 displacement = mod == 2 ? 4 : mod;

	address->base = base | (reader->rex & REX_B ? 8 : 0);
	if (mod == 0 && base == RBP) {
		address->base = INSN_NO_REGISTER;
		address->relative = reader->mode == 64 && !has_sib;
		displacement = 4;
	}
	if (displacement)
		address->displacement = insn_fetch_signed(reader, displacement);
}

static u8 fetch_sib(struct insn_reader *reader, struct insn_address *address)
{
	u8 sib = insn_fetch(reader);
	u8 index = ((sib >> 3) & 7) | (reader->rex & REX_X ? 8 : 0);

	address->scale = sib >> 6;
	if (index != RSP) /* there is no such index */
		address->index = index;
	return sib & 7;
}

static void fetch_address(struct insn_reader *reader, u8 mod, u8 rm, struct insn_address *address)
{
	bool has_sib = rm == RSP;

	address->size = insn_address_size(reader);
	if (address->size == 2)
		address16(reader, mod, rm, address);
	else
		address32(reader, mod, has_sib ? fetch_sib(reader, address) : rm, has_sib, address);
	address->segment = reader->segment;
	if (address->segment == INSN_SEGMENT_DEFAULT)
		address->segment = is_on_stack(address->base) ? INSN_SEGMENT_SS : INSN_SEGMENT_DS;
}

struct insn_modrm insn_fetch_modrm(struct insn_reader *reader)
{
	u8 byte = insn_fetch(reader);
	struct insn_modrm modrm = {
		.mod = byte >> 6,
		.reg = ((byte >> 3) & 7) | (reader->rex & REX_R ? 8 : 0),
		.address = { .base = INSN_NO_REGISTER, .index = INSN_NO_REGISTER },
	};

	if (modrm.mod != 3)
		fetch_address(reader, modrm.mod, byte & 7, &modrm.address);
	return modrm;
}
