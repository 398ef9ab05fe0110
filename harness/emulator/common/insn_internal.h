/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shared by the decoder's files: reading an instruction's bytes. */
#ifndef SNP_INSN_INTERNAL_H
#define SNP_INSN_INTERNAL_H

#include "insn.h"

enum prefix {
	PREFIX_OPERAND_SIZE = 0x66,
	PREFIX_ADDRESS_SIZE = 0x67,
	PREFIX_LOCK = 0xf0,
	PREFIX_REPNE = 0xf2,
	PREFIX_REP = 0xf3,
};

enum rex {
	REX_B = 1,
	REX_X = 2,
	REX_R = 4,
	REX_W = 8,
};

/* Where in an instruction the decoder is, and the prefixes it has seen. */
struct insn_reader {
	const u8 *bytes;
	u32 limit;    /* bytes that may be read */
	u32 position; /* bytes read */
	u32 mode;     /* 16, 32, 64 */
	bool failed;  /* a read past the limit: from then on reads return 0 */
	bool lock;
	bool operand_prefix;
	bool address_prefix;
	bool has_rex;
	u8 rex;    /* 0 without one */
	u8 repeat; /* 0, PREFIX_REPNE or PREFIX_REP: the last one counts */
	enum insn_segment segment;
};

struct insn_modrm {
	u8 mod;
	u8 reg; /* with REX.R */
	struct insn_address address; /* unless mod is 3 */
};

/* For an unknown mode the reader is empty. */
struct insn_reader insn_start(const u8 *bytes, u32 available, u32 mode_bits);
u8 insn_fetch(struct insn_reader *reader);
void insn_skip(struct insn_reader *reader, u32 size);

/* A little-endian number of `size` bytes (1-8), sign extended to 64 bits. */
u64 insn_fetch_signed(struct insn_reader *reader, u32 size);

/* Reads prefixes and returns the byte after them. A REX counts right before the opcode only. */
u8 insn_fetch_prefixes(struct insn_reader *reader);

/* Reads ModRM, SIB and displacement (APM vol. 3, 1.4). */
struct insn_modrm insn_fetch_modrm(struct insn_reader *reader);

/* Bytes of a word-sized operand, and of an address. */
u8 insn_operand_size(const struct insn_reader *reader);
u8 insn_address_size(const struct insn_reader *reader);

#endif
