/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The instruction decoder: prefixes and sizes. */
#include "insn_internal.h"

u8 insn_fetch(struct insn_reader *reader)
{
	if (reader->position >= reader->limit) {
		reader->failed = true;
		return 0;
	}
	return reader->bytes[reader->position++];
}

u64 insn_fetch_signed(struct insn_reader *reader, u32 size)
{
	u64 value = 0;

	for (u32 i = 0; i < size; i++)
		value |= (u64)insn_fetch(reader) << (8 * i);
	if (size < 8 && value >> (8 * size - 1))
		value |= ~0ull << (8 * size);
	return value;
}

void insn_skip(struct insn_reader *reader, u32 size)
{
	for (u32 i = 0; i < size; i++)
		insn_fetch(reader);
}

struct insn_reader insn_start(const u8 *bytes, u32 available, u32 mode_bits)
{
	struct insn_reader reader = {
		.bytes = bytes,
		.limit = available < INSN_MAX_LENGTH ? available : INSN_MAX_LENGTH,
		.mode = mode_bits,
	};

	if (mode_bits != 16 && mode_bits != 32 && mode_bits != 64)
		reader.limit = 0;
	return reader;
}

static enum insn_segment segment_prefix(u8 byte)
{
	static const u8 prefixes[] = {
		[INSN_SEGMENT_ES] = 0x26, [INSN_SEGMENT_CS] = 0x2e, [INSN_SEGMENT_SS] = 0x36,
		[INSN_SEGMENT_DS] = 0x3e, [INSN_SEGMENT_FS] = 0x64, [INSN_SEGMENT_GS] = 0x65,
	};

	for (u32 i = INSN_SEGMENT_ES; i <= INSN_SEGMENT_GS; i++) {
		if (prefixes[i] == byte)
			return (enum insn_segment)i;
	}
	return INSN_SEGMENT_DEFAULT;
}

static bool legacy_prefix(u8 byte, struct insn_reader *reader)
{
	enum insn_segment segment = segment_prefix(byte);

	switch (byte) {
	case PREFIX_OPERAND_SIZE:
		reader->operand_prefix = true;
		return true;
	case PREFIX_ADDRESS_SIZE:
		reader->address_prefix = true;
		return true;
	case PREFIX_LOCK:
		reader->lock = true;
		return true;
	case PREFIX_REPNE:
	case PREFIX_REP:
		reader->repeat = byte;
		return true;
	}
	if (segment == INSN_SEGMENT_DEFAULT)
		return false;
	if (reader->mode != 64 || segment >= INSN_SEGMENT_FS) /* APM vol. 3, 1.2.4: the others are ignored */
		reader->segment = segment;
	return true;
}

u8 insn_fetch_prefixes(struct insn_reader *reader)
{
	for (;;) {
		u8 byte = insn_fetch(reader);

		if (reader->failed)
			return 0;
		if (reader->mode == 64 && (byte & 0xf0) == 0x40) {
			reader->has_rex = true;
			reader->rex = byte & 0xf;
			continue;
		}
		if (!legacy_prefix(byte, reader))
			return byte;
		reader->has_rex = false;
		reader->rex = 0;
	}
}

u8 insn_operand_size(const struct insn_reader *reader)
{
	if (reader->rex & REX_W)
		return 8;
	return (reader->mode == 16) == reader->operand_prefix ? 4 : 2;
}

u8 insn_address_size(const struct insn_reader *reader)
{
	switch (reader->mode) {
	case 64:
		return reader->address_prefix ? 4 : 8;
	case 32:
		return reader->address_prefix ? 2 : 4;
	default:
		return reader->address_prefix ? 4 : 2;
	}
}
