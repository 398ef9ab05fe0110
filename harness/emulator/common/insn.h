/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A bounded decoder for the few x86 instructions that the host decodes itself: those that access
 * MMIO (a plain guest's, whose #NPF the host emulates; TCG has no decode assists), and those whose
 * length it needs to step over them (TCG has no next-RIP). APM vol. 3 chapter 1 and appendix A.
 *
 * Pure. Never reads past `available` bytes nor past 15; an instruction that does not end within them is unknown.
 * Of an MMIO access, segment overrides and address sizes are decoded for the length; the address comes from the #NPF.
 */
#ifndef SNP_INSN_H
#define SNP_INSN_H

#include "types.h"

#define INSN_MAX_LENGTH 15 /* APM vol. 3, 1.1 */

/* What the instruction does with its memory operand m; r is a general register, i an immediate. */
enum insn_kind {
	INSN_UNKNOWN = 0,
	INSN_MOV_LOAD,      /* r = m */
	INSN_MOV_STORE,     /* m = r */
	INSN_MOV_STORE_IMM, /* m = i */
	INSN_MOVZX,         /* r = zero extended m */
	INSN_MOVSX,         /* r = sign extended m; MOVSXD as well */
	INSN_XCHG,          /* r <-> m */
	INSN_ALU,           /* enum insn_alu; see `form` */
	INSN_TEST,          /* flags of m & (r or i); see `form` */
	INSN_BIT,           /* enum insn_bit of bit (r or i) of m; with r, its upper bits moved the address: the #NPF has it */
	INSN_NOT,           /* m = ~m */
	INSN_NEG,           /* m = -m, flags */
	INSN_INC,           /* m = m + 1, flags but CF */
	INSN_DEC,           /* m = m - 1, flags but CF */
	INSN_XADD,          /* r, m = m, m + r; flags */
	INSN_CMPXCHG,       /* if accumulator == m: m = r; else accumulator = m; flags */
	INSN_STOS,          /* ES:rDI = accumulator; rDI moves; `repeat` */
	INSN_LODS,          /* accumulator = DS:rSI */
	INSN_MOVS,          /* ES:rDI = DS:rSI: either may be the MMIO side */
};

/* Operation of INSN_ALU: the encoding of opcodes 00-3F and of 80-83 /r. */
enum insn_alu {
	INSN_ALU_ADD = 0,
	INSN_ALU_OR = 1,
	INSN_ALU_ADC = 2,
	INSN_ALU_SBB = 3,
	INSN_ALU_AND = 4,
	INSN_ALU_SUB = 5,
	INSN_ALU_XOR = 6,
	INSN_ALU_CMP = 7, /* flags only */
};

/* Operation of INSN_BIT: the encoding of 0F BA /r, less 4. */
enum insn_bit {
	INSN_BIT_TEST = 0,
	INSN_BIT_SET = 1,
	INSN_BIT_RESET = 2,
	INSN_BIT_COMPLEMENT = 3,
};

/* Operands of INSN_ALU, INSN_TEST and INSN_BIT. */
enum insn_form {
	INSN_FORM_MEM_REG = 0, /* m is the destination, r the source */
	INSN_FORM_REG_MEM = 1, /* r is the destination, m the source */
	INSN_FORM_MEM_IMM = 2, /* m is the destination, `immediate` the source */
};

enum insn_segment {
	INSN_SEGMENT_DEFAULT = 0, /* none, or one that 64-bit mode ignores */
	INSN_SEGMENT_ES,
	INSN_SEGMENT_CS,
	INSN_SEGMENT_SS,
	INSN_SEGMENT_DS,
	INSN_SEGMENT_FS,
	INSN_SEGMENT_GS,
};

struct insn {
	enum insn_kind kind;
	enum insn_form form;
	u8 length;        /* bytes, 1-15 */
	u8 operation;     /* enum insn_alu or enum insn_bit */
	u8 operand_size;  /* bytes of the memory operand: 1, 2, 4, 8 */
	u8 register_size; /* bytes of the register written or read; 4 in 64-bit mode clears 63:32 */
	u8 address_size;  /* bytes: 2, 4, 8; string instructions count and index in it */
	u8 reg;           /* 0-15: rAX, rCX, rDX, rBX, rSP, rBP, rSI, rDI, r8-r15 */
	bool high_byte;   /* the register is AH, CH, DH or BH: bits 15:8 of `reg` 0-3 */
	bool lock;
	bool repeat;      /* REP (F3 or F2) on a string instruction */
	enum insn_segment segment; /* override prefix in force: the rSI side of INSN_MOVS and INSN_LODS */
	u64 immediate;    /* sign extended to 64 bits */
};

/*
 * Decode the instruction at `bytes` in 16, 32 or 64-bit mode (of the code segment: CS.L, CS.D).
 * False, and `out->kind` INSN_UNKNOWN, for anything not in the list above, register-to-register
 * forms, LOCK where it is not allowed, and when `available` is too short.
 */
bool insn_decode(const u8 *bytes, u32 available, u32 mode_bits, struct insn *out);

/*
 * Bytes of memory that an instruction accesses which insn_decode() does not know; 0: not known here either, or more than
 * one size.
 */
u32 insn_width(const u8 *bytes, u32 available, u32 mode_bits);

/* Whether carrying it out begins with a read of the memory operand. */
bool insn_reads_memory(const struct insn *insn);

/* Values that an instruction works on. Bits above the operand's size are ignored, and clear in what is written. */
struct insn_values {
	u64 memory;      /* the memory operand, if insn_reads_memory() */
	u64 reg;         /* register `reg`; a high byte shifted down to 7:0 */
	u64 accumulator; /* rAX: CMPXCHG only */
	u64 rflags;      /* the arithmetic flags are updated */
};

/* What has to be written back, operand_size or (registers) register_size wide. */
enum insn_writes {
	INSN_WRITES_MEMORY = 1,
	INSN_WRITES_REGISTER = 2,
	INSN_WRITES_ACCUMULATOR = 4,
};

/*
 * Carry out a decoded instruction on values (APM vol. 3 chapter 3). Returns enum insn_writes bits.
 * Not the string instructions but for one element: INSN_STOS takes the accumulator as `reg`,
 * INSN_LODS returns it there, INSN_MOVS returns `memory` unchanged.
 */
u32 insn_execute(const struct insn *insn, struct insn_values *values);

/*
 * MOV CRn, r (0F 22): `cr` 0, 2, 3, 4 or 8, `gpr` 0-15, `length` in bytes.
 * LOCK MOV CR0 is CR8 (AMD's AltMovCr8). The outputs are not valid if the result is false.
 */
bool insn_decode_cr_write(const u8 *bytes, u32 available, u32 mode_bits, u8 *cr, u8 *gpr, u8 *length);

#define INSN_NO_REGISTER 0xFF

/* The address of a memory operand (APM vol. 3, 1.4.2): base + index * 2^scale + displacement, in its segment. */
struct insn_address {
	u8 base;  /* 0-15, or INSN_NO_REGISTER */
	u8 index;
	u8 scale; /* 0-3 */
	u8 size;  /* bytes: 2, 4, 8; the sum is cut to it */
	bool relative; /* to the next instruction */
	enum insn_segment segment; /* never INSN_SEGMENT_DEFAULT */
	u64 displacement; /* sign extended */
};

/* Instructions with a memory operand that SNP processors have and TCG does not know, or knows in part. */
enum insn_extension {
	INSN_XRSTORS, /* 0F C7 /3 */
	INSN_XSAVEC,  /* 0F C7 /4 */
	INSN_XSAVES,  /* 0F C7 /5 */
	INSN_XRSTOR,  /* 0F AE /5 */
};

struct insn_extended {
	enum insn_extension which;
	u8 length;
	bool wide; /* REX.W, which they have a format for */
	struct insn_address address;
};

/* False for anything else, as insn_decode() does. */
bool insn_decode_extended(const u8 *bytes, u32 available, u32 mode_bits, struct insn_extended *out);

/* Instructions that are intercepted and stepped over, or told apart. */
enum insn_simple {
	INSN_SIMPLE_UNKNOWN = 0,
	INSN_SIMPLE_CPUID,   /* 0F A2 */
	INSN_SIMPLE_RDMSR,   /* 0F 32 */
	INSN_SIMPLE_WRMSR,   /* 0F 30 */
	INSN_SIMPLE_HLT,     /* F4 */
	INSN_SIMPLE_WBINVD,  /* 0F 09 */
	INSN_SIMPLE_WBNOINVD, /* F3 0F 09 */
	INSN_SIMPLE_INVD,    /* 0F 08 */
	INSN_SIMPLE_RDTSC,   /* 0F 31 */
	INSN_SIMPLE_RDTSCP,  /* 0F 01 F9 */
	INSN_SIMPLE_PAUSE,   /* F3 90 */
	INSN_SIMPLE_VMMCALL, /* 0F 01 D9 */
	INSN_SIMPLE_VMGEXIT, /* F3 or F2 0F 01 D9 (APM vol. 3 VMGEXIT) */
	INSN_SIMPLE_PVALIDATE, /* F2 0F 01 FF */
	INSN_SIMPLE_RMPADJUST, /* F3 0F 01 FE */
	INSN_SIMPLE_INVLPGB,   /* 0F 01 FE */
	INSN_SIMPLE_TLBSYNC,   /* 0F 01 FF */
	INSN_SIMPLE_RMP_BATCH, /* 0F B9 C0: a UD1, SEV_OPCODE_RMP_BATCH */
};

/* Identify one of these and return its length in bytes, prefixes included; INSN_SIMPLE_UNKNOWN, length 0, otherwise. */
enum insn_simple insn_decode_simple(const u8 *bytes, u32 available, u32 mode_bits, u8 *length);

#endif
