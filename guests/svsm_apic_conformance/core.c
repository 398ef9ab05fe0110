/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The core protocol as far as the APIC protocol needs it, and an SVSM without the APIC protocol. */
#include "groups.h"
#include "cpu.h"
#include "layout.h"
#include "platform.h"
#include "start.h"
#include "svsm_apic.h"
#include "timer.h"
#include "trap.h"

#define NO_PROTOCOL     99u
#define NO_CALL         99u
#define PAGE            (TEST_AREA + 0x10000) /* memory that was not launched */
#define VECTOR          0x51

static u64 call(u32 protocol, u32 number, u64 rcx) { return svsm_call(SVSM_CALL(protocol, number), rcx, 0); }

static void query_core(void)
{
	u64 versions = query_protocol(SVSM_PROTOCOL_CORE, SVSM_CORE_VERSION_MIN);

	EQUAL((u32)versions, SVSM_CORE_VERSION_MIN);
	CHECK(versions >> SVSM_QUERY_MAX_SHIFT >= SVSM_CORE_VERSION_MAX);
}

static void query_unknown(void)
{
	EQUAL(query_protocol(NO_PROTOCOL, 1), 0);
	EQUAL(query_protocol(~0u, 1), 0);
	EQUAL(query_protocol(SVSM_PROTOCOL_CORE, 0), 0);
	EQUAL(query_protocol(SVSM_PROTOCOL_CORE, ~0u), 0);
}

static void unknown(void)
{
	EQUAL(call(SVSM_PROTOCOL_CORE, NO_CALL, 0), SVSM_ERR_UNSUPPORTED_CALL);
	EQUAL(call(SVSM_PROTOCOL_CORE, ~0u, 0), SVSM_ERR_UNSUPPORTED_CALL);
	EQUAL(call(NO_PROTOCOL, 0, 0), SVSM_ERR_UNSUPPORTED_PROTOCOL);
	EQUAL(call(~0u, 0, 0), SVSM_ERR_UNSUPPORTED_PROTOCOL);
}

/* 58019, section 3: the SVSM handles a call if call_pending is set. Otherwise it runs and returns no result. */
static void pending(void)
{
	volatile u8 *flag = calling_area() + SVSM_CAA_CALL_PENDING;
	u64 rax = SVSM_CALL(SVSM_PROTOCOL_CORE, NO_CALL);

	*flag = 0;
	wrmsr(SEV_MSR_GHCB, GHCB_MSR_RUN_VMPL_REQ);
	__asm__ volatile("rep; vmmcall" : "+a"(rax) : : "rcx", "rdx", "r8", "memory");
	EQUAL(rax, SVSM_CALL(SVSM_PROTOCOL_CORE, NO_CALL));
	EQUAL(rdmsr(SEV_MSR_GHCB), GHCB_MSR_RUN_VMPL_RESP);
	EQUAL(call(SVSM_PROTOCOL_CORE, NO_CALL, 0), SVSM_ERR_UNSUPPORTED_CALL);
	EQUAL(*flag, 0);
}

static void pvalidate_round(void)
{
	CHECK(make_private(PAGE));
	*map_page(PAGE, PAGE, true) = 0;
	EQUAL(svsm_pvalidate(PAGE | SVSM_PVALIDATE_VALIDATE), SVSM_PVALIDATE_UNCHANGED);
	EQUAL(svsm_pvalidate(PAGE | SVSM_PVALIDATE_VALIDATE | SVSM_PVALIDATE_IGNORE_CF), SVSM_SUCCESS);
	EQUAL(svsm_pvalidate(PAGE), SVSM_SUCCESS);
	CHECK(make_shared(PAGE));
}

static void query_apic(void)
{
	u64 versions = query_protocol(SVSM_PROTOCOL_APIC, SVSM_APIC_VERSION_MIN);

	EQUAL((u32)versions, SVSM_APIC_VERSION_MIN);
	CHECK(versions >> SVSM_QUERY_MAX_SHIFT >= SVSM_APIC_VERSION_MAX);
}

static void query_apic_versions(void)
{
	u64 versions = query_protocol(SVSM_PROTOCOL_APIC, SVSM_APIC_VERSION_MIN);

	EQUAL(query_protocol(SVSM_PROTOCOL_APIC, 0), 0);
	EQUAL(query_protocol(SVSM_PROTOCOL_APIC, (u32)(versions >> SVSM_QUERY_MAX_SHIFT) + 1), 0);
	EQUAL(query_protocol(SVSM_PROTOCOL_APIC, ~0u), 0);
}

/* Before the guest allows a vector (COCONUT LocalApic::new). */
static void none_allowed(void)
{
	on_interrupt = end_interrupt;
	CHECK(timer_start(TIMER_MSR, VECTOR, APIC_TIMER_PERIODIC, 500));
	let_pass();
	timer_stop();
	let_pass();
	EQUAL(interrupts[VECTOR], 0);
	EQUAL(in_irr(VECTOR), 0);
}

static void absent_query(void)
{
	EQUAL(query_protocol(SVSM_PROTOCOL_APIC, SVSM_APIC_VERSION_MIN), 0);
}

static void absent_calls(void)
{
	for (u32 number = SVSM_APIC_QUERY_FEATURES; number <= SVSM_APIC_CONFIGURE_VECTOR + 1; number++)
		EQUAL_OF(number, call(SVSM_PROTOCOL_APIC, number, X2(APIC_TPR)), SVSM_ERR_UNSUPPORTED_PROTOCOL);
}

static const struct point points[] = {
	{ "core/query-protocol-core", NEED_SVSM, .run = query_core },
	{ "core/query-protocol-unknown", NEED_SVSM, .run = query_unknown },
	{ "core/unknown-call-and-protocol", NEED_SVSM, .run = unknown },
	{ "core/call-needs-pending", NEED_SVSM, .run = pending },
	{ "core/pvalidate", NEED_SVSM, .run = pvalidate_round },
	{ "core/query-protocol-apic", NEED_PROTOCOL, .run = query_apic },
	{ "core/query-protocol-apic-versions", NEED_PROTOCOL, .run = query_apic_versions },
	{ "core/no-vector-allowed-at-first", NEED_PROTOCOL | NEED_X2APIC, .run = none_allowed },
	{ "core/query-protocol-without-apic", NEED_NO_PROTOCOL, .run = absent_query },
	{ "core/calls-without-apic-refused", NEED_NO_PROTOCOL, .run = absent_calls },
};

GROUP(core_group, points, NULL);
