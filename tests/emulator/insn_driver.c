/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Test driver of the instruction decoder: one command a line, numbers in hexadecimal, one line of
 * numbers as the answer. See tests/emulator/insn.py for the commands.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "insn.h"

#define COMMAND_SECONDS 120
#define MAX_BYTES       32

static void fail(const char *what, const u8 *bytes, u32 available, u32 mode)
{
	fprintf(stderr, "%s, mode %u:", what, mode);
	for (u32 i = 0; i < available; i++)
		fprintf(stderr, " %02x", bytes[i]);
	fprintf(stderr, "\n");
	abort();
}

/* A copy of exactly this size, so that the sanitizer sees a read past the end. */
static u8 *exact(const u8 *bytes, u32 available)
{
	u8 *copy = malloc(available ? available : 1);

	memcpy(copy, bytes, available);
	return copy;
}

/* The results of all decoders for the bytes: lengths, 0 for unknown. */
struct lengths {
	u8 access;
	u8 simple;
	u8 cr_write;
	u8 extended;
	struct insn insn;
};

static void decode_all(const u8 *bytes, u32 available, u32 mode, struct lengths *lengths)
{
	u8 *copy = exact(bytes, available);
	struct insn_extended extended;
	u8 cr, gpr, length;

	memset(lengths, 0, sizeof(*lengths));
	if (insn_decode(copy, available, mode, &lengths->insn))
		lengths->access = lengths->insn.length;
	else if (lengths->insn.kind != INSN_UNKNOWN)
		fail("refused, but of a kind", bytes, available, mode);
	insn_decode_simple(copy, available, mode, &lengths->simple);
	if (insn_decode_cr_write(copy, available, mode, &cr, &gpr, &length)) {
		if (cr > 8 || gpr > 15)
			fail("register number", bytes, available, mode);
		lengths->cr_write = length;
	}
	if (insn_decode_extended(copy, available, mode, &extended))
		lengths->extended = extended.length;
	free(copy);
}

static void check_length(u8 length, const u8 *bytes, u32 available, u32 mode)
{
	if (length > INSN_MAX_LENGTH || length > available)
		fail("length", bytes, available, mode);
}

static void check_insn(const struct insn *insn, const u8 *bytes, u32 available, u32 mode)
{
	static const bool sizes[9] = { [1] = true, [2] = true, [4] = true, [8] = true };

	if (insn->reg > 15 || insn->operand_size > 8 || !sizes[insn->operand_size])
		fail("register or operand size", bytes, available, mode);
	if (insn->register_size > 8 || !sizes[insn->register_size])
		fail("register size", bytes, available, mode);
	if (insn->high_byte && (insn->reg > 3 || insn->register_size != 1))
		fail("high byte", bytes, available, mode);
	if (mode != 64 && (insn->reg > 7 || insn->operand_size == 8 || insn->register_size == 8))
		fail("64-bit operand", bytes, available, mode);
}

/* An instruction does not depend on the bytes after it, and unknown when its last byte is missing. */
static void check(const u8 *bytes, u32 available, u32 mode)
{
	struct lengths all, cut;

	decode_all(bytes, available, mode, &all);
	check_length(all.access, bytes, available, mode);
	check_length(all.simple, bytes, available, mode);
	check_length(all.cr_write, bytes, available, mode);
	check_length(all.extended, bytes, available, mode);
	if (all.access) {
		check_insn(&all.insn, bytes, available, mode);
		decode_all(bytes, all.access, mode, &cut);
		if (memcmp(&all.insn, &cut.insn, sizeof(cut.insn)))
			fail("bytes after it count", bytes, available, mode);
		decode_all(bytes, all.access - 1u, mode, &cut);
		if (cut.access)
			fail("the last byte does not count", bytes, available, mode);
	}
	if (all.simple) {
		decode_all(bytes, all.simple - 1u, mode, &cut);
		if (cut.simple)
			fail("the last byte of a simple one does not count", bytes, available, mode);
	}
	if (all.extended) {
		decode_all(bytes, all.extended - 1u, mode, &cut);
		if (cut.extended)
			fail("the last byte of an extended one does not count", bytes, available, mode);
	}
}

/* xorshift64 */
static u64 next_random(u64 *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* Half of the bytes are from those that begin known instructions. */
static u8 random_byte(u64 *state)
{
	static const u8 chosen[] = { 0x0f, 0x0f, 0x0f, 0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x2e, 0x64, 0x48, 0x4c,
				     0x41, 0x01, 0xd9, 0x20, 0x22, 0x89, 0x8b, 0xc7, 0x80, 0x83, 0xba, 0xb6, 0xae, 0x64 };
	u64 number = next_random(state);

	return number & 1 ? chosen[(number >> 8) % sizeof(chosen)] : (u8)(number >> 8);
}

static void fuzz(u64 seed, u64 steps)
{
	u64 state = seed * 0x9e3779b97f4a7c15ull | 1;
	u8 bytes[MAX_BYTES];

	for (u64 step = 0; step < steps; step++) {
		u32 available = next_random(&state) % 20;

		for (u32 i = 0; i < available; i++)
			bytes[i] = random_byte(&state);
		check(bytes, available, 16);
		check(bytes, available, 32);
		check(bytes, available, 64);
		check(bytes, available, (u32)next_random(&state) & 0x7f);
	}
}

#ifdef __x86_64__

#define RFLAGS_FIXED      0x202ull /* bit 1 and IF */
#define RFLAGS_ARITHMETIC 0x8d5ull
#define RFLAGS_AF         0x010ull
#define RFLAGS_CF_ZF      0x041ull

/* The operands of a run: m is at (%rdi), r is rcx. */
struct operands {
	u64 memory;
	u64 rcx;
	u64 rax;
	u64 rflags;
};

/* The processor executes the code as the reference. */
static void run_native(const u8 *code, u32 length, struct operands *operands)
{
	static u8 *page;
	u64 flags = operands->rflags | RFLAGS_FIXED;

	if (!page)
		page = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED) {
		perror("mmap");
		exit(2);
	}
	memcpy(page, code, length);
	page[length] = 0xc3;
	asm volatile("lea -128(%%rsp), %%rsp\n\t" /* the red zone */
		     "push %[flags]\n\t"
		     "popf\n\t"
		     "call *%[code]\n\t"
		     "pushf\n\t"
		     "pop %[flags]\n\t"
		     "lea 128(%%rsp), %%rsp"
		     : "+c"(operands->rcx), "+a"(operands->rax), [flags] "+r"(flags)
		     : [code] "r"(page), "D"(&operands->memory)
		     : "memory", "cc");
	operands->rflags = flags & RFLAGS_ARITHMETIC;
}

static u64 merge(u64 old, u64 value, u32 size)
{
	switch (size) {
	case 1:
		return (old & ~0xffull) | (value & 0xff);
	case 2:
		return (old & ~0xffffull) | (value & 0xffff);
	case 4:
		return (u32)value;
	default:
		return value;
	}
}

static void run_emulated(const struct insn *insn, struct operands *operands)
{
	struct insn_values values = {
		.memory = operands->memory,
		.reg = insn->high_byte ? operands->rcx >> 8 : operands->rcx,
		.accumulator = operands->rax,
		.rflags = operands->rflags,
	};
	u32 writes = insn_execute(insn, &values);

	operands->rflags = values.rflags;
	if (writes & INSN_WRITES_MEMORY)
		memcpy(&operands->memory, &values.memory, insn->operand_size);
	if (writes & INSN_WRITES_ACCUMULATOR)
		operands->rax = merge(operands->rax, values.accumulator, insn->operand_size);
	if (!(writes & INSN_WRITES_REGISTER))
		return;
	if (insn->high_byte)
		operands->rcx = (operands->rcx & ~0xff00ull) | values.reg << 8;
	else
		operands->rcx = merge(operands->rcx, values.reg, insn->register_size);
}

/* Flags that the architecture does not define are not compared. */
static u64 defined_flags(const struct insn *insn)
{
	bool logic = insn->kind == INSN_TEST ||
		     (insn->kind == INSN_ALU && (insn->operation == INSN_ALU_AND || insn->operation == INSN_ALU_OR ||
						 insn->operation == INSN_ALU_XOR));

	if (insn->kind == INSN_BIT)
		return RFLAGS_CF_ZF;
	return logic ? RFLAGS_ARITHMETIC & ~RFLAGS_AF : RFLAGS_ARITHMETIC;
}

/* Small numbers, numbers around the sign bit and equal ones change the flags. */
static u64 random_operand(u64 *state, u64 other)
{
	static const u64 chosen[] = { 0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff,
				      0x7fffffffffffffff, 0x8000000000000000, 0xffffffffffffffff };
	u64 number = next_random(state);

	switch (number & 3) {
	case 0:
		return chosen[(number >> 8) % (sizeof(chosen) / sizeof(chosen[0]))];
	case 1:
		return other;
	default:
		return next_random(state);
	}
}

/* Answers 1 when processor and decoder agree on every run, 0 when the code is not decoded; ends the driver otherwise. */
static void native_command(const u8 *bytes, u32 available, u64 runs)
{
	u64 state = 0x9e3779b97f4a7c15ull;
	struct insn insn;

	if (!insn_decode(bytes, available, 64, &insn) || insn.length != available) {
		printf("0\n");
		return;
	}
	for (u64 i = 0; i < runs; i++) {
		struct operands start, native, emulated;
		u64 defined = defined_flags(&insn);

		start.memory = random_operand(&state, 0);
		start.rcx = random_operand(&state, start.memory);
		start.rax = random_operand(&state, start.memory);
		start.rflags = next_random(&state) & RFLAGS_ARITHMETIC;
		native = emulated = start;
		run_native(bytes, available, &native);
		run_emulated(&insn, &emulated);
		native.rflags &= defined;
		emulated.rflags &= defined;
		if (!memcmp(&native, &emulated, sizeof(native)))
			continue;
		fprintf(stderr, "memory %llx rcx %llx rax %llx flags %llx: %llx %llx %llx %llx, not %llx %llx %llx %llx\n",
			(unsigned long long)start.memory, (unsigned long long)start.rcx, (unsigned long long)start.rax,
			(unsigned long long)start.rflags, (unsigned long long)native.memory,
			(unsigned long long)native.rcx, (unsigned long long)native.rax, (unsigned long long)native.rflags,
			(unsigned long long)emulated.memory, (unsigned long long)emulated.rcx,
			(unsigned long long)emulated.rax, (unsigned long long)emulated.rflags);
		fail("the processor does otherwise", bytes, available, 64);
	}
	printf("1\n");
}

#else

static void native_command(const u8 *bytes, u32 available, u64 runs)
{
	(void)bytes, (void)available, (void)runs;
	fprintf(stderr, "not an x86-64 machine\n");
	exit(2);
}

#endif

static void decode_command(const u8 *bytes, u32 available, u32 mode)
{
	struct insn insn;
	bool known = insn_decode(bytes, available, mode, &insn);

	printf("%x %x %x %x %x %x %x %x %x %x %x %x %x %llx\n", known, insn.kind, insn.form, insn.length, insn.operation,
	       insn.operand_size, insn.register_size, insn.address_size, insn.reg, insn.high_byte, insn.lock, insn.repeat,
	       insn.segment, (unsigned long long)insn.immediate);
}

/* Answers reads, writes, memory, register, flags. */
static void execute_command(const u8 *bytes, u32 available, u64 memory, u64 reg)
{
	struct insn_values values = { .memory = memory, .reg = reg };
	struct insn insn;
	u32 writes;

	if (!insn_decode(bytes, available, 64, &insn))
		exit(2);
	writes = insn_execute(&insn, &values);
	printf("%x %x %llx %llx %llx\n", insn_reads_memory(&insn), writes, (unsigned long long)values.memory,
	       (unsigned long long)values.reg, (unsigned long long)values.rflags);
}

static void simple_command(const u8 *bytes, u32 available, u32 mode)
{
	u8 length;
	enum insn_simple which = insn_decode_simple(bytes, available, mode, &length);

	printf("%x %x\n", which, length);
}

static void extended_command(const u8 *bytes, u32 available, u32 mode)
{
	struct insn_extended insn;
	bool known = insn_decode_extended(bytes, available, mode, &insn);
	const struct insn_address *address = &insn.address;

	printf("%x %x %x %x %x %x %x %x %x %x %llx\n", known, insn.which, insn.length, insn.wide, address->base, address->index,
	       address->scale, address->size, address->relative, address->segment, (unsigned long long)address->displacement);
}

static void cr_write_command(const u8 *bytes, u32 available, u32 mode)
{
	u8 cr = 0, gpr = 0, length = 0;

	if (!insn_decode_cr_write(bytes, available, mode, &cr, &gpr, &length))
		printf("0 0 0 0\n");
	else
		printf("1 %x %x %x\n", cr, gpr, length);
}

static void bytes_command(const char *name, u32 mode, const u8 *bytes, u32 available)
{
	if (!strcmp(name, "decode"))
		decode_command(bytes, available, mode);
	else if (!strcmp(name, "width"))
		printf("%x\n", insn_width(bytes, available, mode));
	else if (!strcmp(name, "simple"))
		simple_command(bytes, available, mode);
	else if (!strcmp(name, "extended"))
		extended_command(bytes, available, mode);
	else if (!strcmp(name, "cr_write"))
		cr_write_command(bytes, available, mode);
	else if (!strcmp(name, "native"))
		native_command(bytes, available, mode);
	else
		exit(2);
}

static u32 parse_bytes(const char *text, u8 *bytes)
{
	u32 count = 0;
	unsigned int byte;

	while (count < MAX_BYTES && sscanf(text + 2 * count, "%2x", &byte) == 1)
		bytes[count++] = (u8)byte;
	return count;
}

int main(void)
{
	char line[256], name[32], text[160];
	unsigned long long first, memory, reg;

	while (fgets(line, sizeof(line), stdin)) {
		u8 bytes[MAX_BYTES];
		int words = sscanf(line, "%31s %llx %159s %llx %llx", name, &first, text, &memory, &reg);

		alarm(COMMAND_SECONDS);
		if (words == 3 && !strcmp(name, "fuzz")) {
			fuzz(first, strtoull(text, NULL, 16));
			printf("0\n");
		} else if (words == 5 && !strcmp(name, "execute")) {
			execute_command(bytes, parse_bytes(text, bytes), memory, reg);
		} else if (words >= 2) {
			u32 available = words == 3 ? parse_bytes(text, bytes) : 0;
			u8 *copy = exact(bytes, available);

			bytes_command(name, (u32)first, copy, available);
			free(copy);
		} else {
			return 2;
		}
		fflush(stdout);
		alarm(0);
	}
	return 0;
}
