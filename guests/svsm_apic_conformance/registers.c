/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which registers the SVSM serves, and in which directions (COCONUT kernel/src/cpu/apic.rs, read_register). */
#include "groups.h"
#include "platform.h"
#include "svsm_apic.h"

/* A register or several in a row: the x2APIC MSR of the first, and their number. */
#define ROW(reg, count) (X2(reg) | (u64)(count) << 32)

static void readable(u64 row)
{
	for (u64 msr = (u32)row; msr < (u32)row + (row >> 32); msr++)
		EQUAL_OF(msr, read_result(msr), SVSM_SUCCESS);
}

/* Of registers of 32 bits; RDX was all ones before. */
static void upper_half_reads_as_zero(void)
{
	static const u32 registers[] = { APIC_ID, APIC_TPR, APIC_PPR, APIC_LDR, APIC_ISR, APIC_TMR, APIC_IRR };

	for (u32 i = 0; i < sizeof(registers) / sizeof(registers[0]); i++)
		EQUAL_OF(X2(registers[i]), apic_call(SVSM_APIC_READ_REGISTER, X2(registers[i]), ~0ull).rdx >> 32, 0);
}

static void not_readable(u64 row)
{
	for (u64 msr = (u32)row; msr < (u32)row + (row >> 32); msr++)
		EQUAL_OF(msr, read_result(msr), SVSM_ERR_INVALID_PARAMETER);
}

static void not_writable(u64 row)
{
	for (u64 msr = (u32)row; msr < (u32)row + (row >> 32); msr++) {
		u64 before = read_register(msr);

		EQUAL_OF(msr, write_register(msr, 0), SVSM_ERR_INVALID_PARAMETER);
		EQUAL_OF(msr, write_register(msr, ~0ull), SVSM_ERR_INVALID_PARAMETER);
		EQUAL_OF(msr, read_register(msr), before);
	}
}

static bool served(u64 msr)
{
	switch (msr) {
	case X2(APIC_ID): case X2(APIC_TPR): case X2(APIC_PPR): case X2(APIC_EOI): case X2(APIC_LDR): case X2(APIC_ICR):
	case X2(APIC_SELF_IPI): case X2(APIC_ISR) ... X2(APIC_IRR) + APIC_VECTOR_WORDS - 1:
		return true;
	case X2(APIC_LVT_TIMER): case X2(APIC_TIMER_INITIAL): case X2(APIC_TIMER_CURRENT): case X2(APIC_TIMER_DIVIDE):
		return platform.apic_features & SVSM_APIC_FEATURE_TIMER;
	default:
		return false;
	}
}

/* Every other MSR of 800-8FF, and some outside. */
static void not_served(u64 writing)
{
	static const u64 others[] = { 0, 1, MSR_APIC_BASE, MSR_TSC_DEADLINE, MSR_X2APIC_FIRST - 1, MSR_X2APIC_LAST + 1,
				      0xC0000080, 0xC0010131, BIT(32) | X2(APIC_TPR), BIT(63) | X2(APIC_TPR), ~0ull };

	for (u64 msr = MSR_X2APIC_FIRST; msr <= MSR_X2APIC_LAST; msr++) {
		if (!served(msr))
			EQUAL_OF(msr, writing ? write_register(msr, 0) : read_result(msr), SVSM_ERR_INVALID_ADDRESS);
	}
	for (u32 i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		EQUAL_OF(others[i], writing ? write_register(others[i], 0) : read_result(others[i]), SVSM_ERR_INVALID_ADDRESS);
}

static const struct point points[] = {
	{ "registers/read-id", NEED_PROTOCOL, .run_with = readable, ROW(APIC_ID, 1) },
	{ "registers/read-tpr", NEED_PROTOCOL, .run_with = readable, ROW(APIC_TPR, 1) },
	{ "registers/read-ppr", NEED_PROTOCOL, .run_with = readable, ROW(APIC_PPR, 1) },
	{ "registers/read-ldr", NEED_PROTOCOL, .run_with = readable, ROW(APIC_LDR, 1) },
	{ "registers/read-isr", NEED_PROTOCOL, .run_with = readable, ROW(APIC_ISR, APIC_VECTOR_WORDS) },
	{ "registers/read-tmr", NEED_PROTOCOL, .run_with = readable, ROW(APIC_TMR, APIC_VECTOR_WORDS) },
	{ "registers/read-irr", NEED_PROTOCOL, .run_with = readable, ROW(APIC_IRR, APIC_VECTOR_WORDS) },
	{ "registers/read-icr", NEED_PROTOCOL, .run_with = readable, ROW(APIC_ICR, 1) },
	{ "registers/upper-half-reads-as-zero", NEED_PROTOCOL, .run = upper_half_reads_as_zero },
	{ "registers/read-eoi-refused", NEED_PROTOCOL, .run_with = not_readable, ROW(APIC_EOI, 1) },
	{ "registers/read-self-ipi-refused", NEED_PROTOCOL, .run_with = not_readable, ROW(APIC_SELF_IPI, 1) },
	{ "registers/read-others-refused", NEED_PROTOCOL, .run_with = not_served, false },
	{ "registers/write-id-refused", NEED_PROTOCOL, .run_with = not_writable, ROW(APIC_ID, 1) },
	{ "registers/write-ppr-refused", NEED_PROTOCOL, .run_with = not_writable, ROW(APIC_PPR, 1) },
	{ "registers/write-ldr-refused", NEED_PROTOCOL, .run_with = not_writable, ROW(APIC_LDR, 1) },
	{ "registers/write-isr-refused", NEED_PROTOCOL, .run_with = not_writable, ROW(APIC_ISR, APIC_VECTOR_WORDS) },
	{ "registers/write-tmr-refused", NEED_PROTOCOL, .run_with = not_writable, ROW(APIC_TMR, APIC_VECTOR_WORDS) },
	{ "registers/write-irr-refused", NEED_PROTOCOL, .run_with = not_writable, ROW(APIC_IRR, APIC_VECTOR_WORDS) },
	{ "registers/write-others-refused", NEED_PROTOCOL, .run_with = not_served, true },
};

GROUP(registers_group, points, svsm_apic_prepare);
