/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The calls of the APIC protocol except those of registers and vectors (COCONUT kernel/src/protocols/apic.rs). */
#include "groups.h"
#include "platform.h"
#include "svsm_apic.h"

#define VECTOR 0x51

static void query_features(void)
{
	struct svsm_reply reply = apic_call(SVSM_APIC_QUERY_FEATURES, ~0ull, 0);

	EQUAL(reply.rax, SVSM_SUCCESS);
	EQUAL(reply.rcx & ~SVSM_APIC_FEATURE_TIMER, 0);
}

static void unknown_call(void)
{
	static const u32 numbers[] = { SVSM_APIC_CONFIGURE_VECTOR + 1, 6, 0x100, 0x80000000, ~0u };

	for (u32 i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		EQUAL_OF(numbers[i], apic_call(numbers[i], 0, 0).rax, SVSM_ERR_UNSUPPORTED_CALL);
}

static void configure_query(void)
{
	EQUAL(configure(SVSM_APIC_CONFIGURE_QUERY), SVSM_SUCCESS);
	EQUAL(configure(SVSM_APIC_CONFIGURE_QUERY), SVSM_SUCCESS);
	EQUAL(read_result(X2(APIC_TPR)), SVSM_SUCCESS); /* the APIC is still registered */
}

static void configure_bad_values(void)
{
	static const u64 values[] = { SVSM_APIC_CONFIGURE_REGISTER + 1, 4, 0x100, BIT(32), BIT(32) | 1, BIT(63), ~0ull };

	for (u32 i = 0; i < sizeof(values) / sizeof(values[0]); i++)
		EQUAL_OF(values[i], configure(values[i]), SVSM_ERR_INVALID_PARAMETER);
	EQUAL(read_result(X2(APIC_TPR)), SVSM_SUCCESS);
}

static void register_and_deregister(void)
{
	for (u32 depth = 0; depth < 3; depth++)
		EQUAL(configure(SVSM_APIC_CONFIGURE_REGISTER), SVSM_SUCCESS);
	for (u32 depth = 0; depth < 3; depth++)
		EQUAL(configure(SVSM_APIC_CONFIGURE_DEREGISTER), SVSM_SUCCESS);
	EQUAL(configure(SVSM_APIC_CONFIGURE_QUERY), SVSM_SUCCESS);
	EQUAL(read_result(X2(APIC_TPR)), SVSM_SUCCESS); /* the first registration remains */
}

/* Registers that a call does not use may have any value. */
static void unused_registers(void)
{
	static const struct { u32 call; u64 rcx; bool rdx_is_used; } calls[] = {
		{ SVSM_APIC_QUERY_FEATURES, ~0ull, false },
		{ SVSM_APIC_CONFIGURE, SVSM_APIC_CONFIGURE_QUERY, false },
		{ SVSM_APIC_READ_REGISTER, X2(APIC_TPR), false },
		{ SVSM_APIC_WRITE_REGISTER, X2(APIC_EOI), true },
		{ SVSM_APIC_CONFIGURE_VECTOR, VECTOR, false },
	};

	for (u32 i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
		EQUAL_OF(calls[i].call, svsm_request(SVSM_CALL(SVSM_PROTOCOL_APIC, calls[i].call), calls[i].rcx,
						     calls[i].rdx_is_used ? 0 : ~0ull, ~0ull).rax, SVSM_SUCCESS);
}

static const struct point points[] = {
	{ "calls/query-features", NEED_PROTOCOL, .run = query_features },
	{ "calls/unknown-call", NEED_PROTOCOL, .run = unknown_call },
	{ "calls/configure-query", NEED_PROTOCOL, .run = configure_query },
	{ "calls/configure-bad-values", NEED_PROTOCOL, .run = configure_bad_values },
	{ "calls/unused-registers-ignored", NEED_PROTOCOL, .run = unused_registers },
	{ "calls/configure-register-and-deregister", NEED_PROTOCOL, .run = register_and_deregister },
};

GROUP(calls_group, points, svsm_apic_prepare);
