/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "xsave.h"
#include "bytes.h"
#include "guest.h"
#include "operand.h"
#include "x86.h"
#include "xsave_format.h"

/* One processor runs all vCPUs. Reserved bytes, which XSAVE does not write, stay 0 in the first. */
static u8 saved[XSAVE_AREA] __attribute__((aligned(64)));
static u8 loaded[XSAVE_AREA] __attribute__((aligned(64)));
static u8 area[XSAVE_AREA] __attribute__((aligned(64)));
static struct xsave_layout layout;

void xsave_setup(void)
{
	struct cpuid_result features = cpuid(CPUID_XSAVE, 0);
	u64 all = features.eax | (u64)features.edx << 32;

	for (u32 i = 2; i < XSTATE_COMPONENTS; i++) {
		struct cpuid_result component = cpuid(CPUID_XSAVE, i);

		if (all & BIT(i))
			xsave_layout_add(&layout, i, component.eax, component.ebx, component.ecx);
	}
}

/* The processor has the guest's state, and its XCR0. With REX.W the x87 pointers have 64 bits. */
static void save(u64 features, bool wide)
{
	u32 low = (u32)features, high = (u32)(features >> 32);

	if (wide)
		__asm__ volatile("xsave64 (%0)" : : "r"(saved), "a"(low), "d"(high) : "memory");
	else
		__asm__ volatile("xsave (%0)" : : "r"(saved), "a"(low), "d"(high) : "memory");
}

static void load(u64 features, bool wide)
{
	u32 low = (u32)features, high = (u32)(features >> 32);

	if (wide)
		__asm__ volatile("xrstor64 (%0)" : : "r"(loaded), "a"(low), "d"(high) : "memory");
	else
		__asm__ volatile("xrstor (%0)" : : "r"(loaded), "a"(low), "d"(high) : "memory");
}

static bool is_aligned(struct hw_cpu *cpu, const struct hw_operand *operand)
{
	if (operand->linear & 63)
		guest_exception(cpu, X86_GP, true, 0);
	return !(operand->linear & 63);
}

static bool store_area(struct hw_cpu *cpu, struct hw_operand *operand, u64 requested, bool wide, struct hw_exit *exit)
{
	u64 in_use;
	u32 size;

	save(requested, wide);
	in_use = xsave_in_use(&layout, saved, requested);
	size = xsave_compact_end(&layout, requested, in_use);
	if (!operand_locate(cpu, operand, size, true) || !is_aligned(cpu, operand) ||
	    !operand_map(cpu, operand, size, true, exit))
		return false;
	operand_get(operand, area, size); /* what the instruction does not write stays as it is */
	xsave_compact(&layout, saved, requested, in_use, guest_mode_bits(cpu) == 64, area);
	operand_put(operand, area, size);
	return true;
}

static bool fetch_area(struct hw_cpu *cpu, struct hw_operand *operand, u64 requested, struct hw_exit *exit)
{
	u32 size;

	if (!operand_locate(cpu, operand, XSAVE_EXTENDED, false) || !is_aligned(cpu, operand) ||
	    !operand_map(cpu, operand, XSAVE_EXTENDED, false, exit))
		return false;
	operand_get(operand, area, XSAVE_EXTENDED);
	if (!xsave_is_valid(area, xgetbv(), requested)) {
		guest_exception(cpu, X86_GP, true, 0);
		return false;
	}
	size = xsave_compact_end(&layout, xsave_xcomp(area), xsave_xstate(area) & requested);
	if (!operand_locate(cpu, operand, size, false) || !operand_map(cpu, operand, size, false, exit))
		return false;
	operand_get(operand, area, size);
	return true;
}

static bool load_area(struct hw_cpu *cpu, struct hw_operand *operand, u64 requested, bool wide, struct hw_exit *exit)
{
	bool mode64 = guest_mode_bits(cpu) == 64;

	if (!fetch_area(cpu, operand, requested, exit))
		return false;
	if (!mode64) { /* registers 8-15 stay */
		save(requested, wide);
		memcpy(loaded, saved, XSAVE_AREA);
	}
	if (!(requested & XSTATE_SSE)) /* MXCSR is SSE's in this format, which XRSTOR would load for AVX as well */
		__asm__ volatile("stmxcsr %0" : "=m"(*(u32 *)(loaded + XSAVE_MXCSR)));
	xsave_expand(&layout, area, requested, mode64, loaded);
	load(requested, wide);
	return true;
}

/* Why it cannot be executed whatever its operand is: the exception's vector, or -1. */
static int refusal(const struct vmcb_save *registers, enum insn_extension which)
{
	if (!(registers->cr4 & CR4_OSXSAVE))
		return X86_UD;
	if (registers->cr0 & CR0_TS)
		return X86_NM;
	return registers->cpl && (which == INSN_XSAVES || which == INSN_XRSTORS) ? X86_GP : -1;
}

/* No component of IA32_XSS exists here, so XCR0 has all of them. */
void xsave_instruction(struct hw_cpu *cpu, const struct insn_extended *insn, struct hw_exit *exit)
{
	bool stores = insn->which == INSN_XSAVEC || insn->which == INSN_XSAVES;
	struct hw_operand operand = { .address = &insn->address, .length = insn->length };
	u64 requested = xgetbv() & ((u32)vmcb(cpu)->save.rax | current(cpu)->gpr[HW_RDX] << 32);
	int refused = refusal(&vmcb(cpu)->save, insn->which);

	if (refused >= 0)
		guest_exception(cpu, (u8)refused, refused == X86_GP, 0);
	else if (stores ? store_area(cpu, &operand, requested, insn->wide, exit) :
			  load_area(cpu, &operand, requested, insn->wide, exit))
		guest_skip(cpu, insn->length);
}
