/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Random SVSM calls, NAE events and MSR protocol requests, from a seed. Requests by which a guest may legally harm itself
 * are left out: ending the run (termination, 8000FFFF, AP reset hold, shutdown, guest requests with pages that are not
 * there), giving away the memory it runs in, deleting or replacing its own vCPU, and writes by a device. Canaries show
 * whether its memory has changed.
 */
#include "modes.h"
#include "clock.h"
#include "cpu.h"
#include "parameters.h"
#include "platform.h"
#include "random.h"
#include "serial.h"
#include "start.h"
#include "svsm_apic.h"
#include "tap.h"
#include "trap.h"

#define CANARY_WORDS   8192          /* 64 KiB */
#define CANARY_EVERY   256           /* requests */
#define ARENA          0x4000000ull  /* 16 MiB of RAM, not launched, for these requests only */
#define ARENA_SIZE     0x1000000ull
#define NO_MEMORY      0xD0000000ull
#define TOUCHED        (TEST_AREA + 0x20000) /* where the SVSM's page is mapped */
#define RESPONSE       (TEST_AREA + 0x30000) /* shared, for the answers of guest requests */
#define EXCEPTIONS_END 32
#define LIST_MAX       8

static struct {
	u64 seed;
	u64 calls, events, requests, succeeded, broken;
} fuzz;

static u64 canary[CANARY_WORDS];

static u64 any(void) { return random_next(&fuzz.seed); }
static u32 below(u32 limit) { return random_below(&fuzz.seed, limit); }

static u64 canary_word(u64 index) { return (index + 1) * 0x9E3779B97F4A7C15ull ^ parameters()->seed; }

static void check_canaries(void)
{
	for (u64 i = 0; i < CANARY_WORDS; i++) {
		if (((volatile u64 *)canary)[i] == canary_word(i))
			continue;
		fuzz.broken++;
		canary[i] = canary_word(i);
	}
}

static u64 arena(void) { return ARENA + (any() % ARENA_SIZE & ~(PAGE_SIZE - 1)); }

static u64 svsm_page(void)
{
	return secrets()->svsm_base + (any() % (secrets()->svsm_size | 1) & ~(PAGE_SIZE - 1));
}

/* Whether this guest runs in the page, or in a large page around it. */
static bool is_own(u64 page) { return (page >= SEC_MEMORY && page < LARGE_AREA) || (page >= FLASH && page < BIT(32)); }

/* A page that this guest does not need. */
static u64 foreign_page(void)
{
	u64 page = arena();

	switch (below(5)) {
	case 0: page = svsm_page(); break;
	case 1: page = NO_MEMORY + (any() & 0xFFFF000); break;
	case 2: page = any() & ~(PAGE_SIZE - 1); break;
	case 3: page = BIT(below(64)); break;
	default: break;
	}
	return is_own(page) ? arena() : page;
}

/* An address of any kind outside the guest's own memory. */
static u64 address(void)
{
	u64 page = foreign_page();

	return below(2) ? page : page + below(PAGE_SIZE);
}

static u64 value(void)
{
	switch (below(5)) {
	case 0: return below(16);
	case 1: return below(0x1000);
	case 2: return BIT(below(64));
	case 3: return address();
	default: return any();
	}
}

/* PVALIDATE of pages that this guest does not need. Header and list vary. */
static u64 pvalidate_list(void)
{
	volatile u8 *page = calling_area();
	u32 offset = SVSM_CALL_BUFFER + below(2) * below(0x7F8);
	struct svsm_pvalidate_header *header = (void *)(page + (offset & ~7u));

	if ((offset & ~7u) + sizeof(*header) + LIST_MAX * sizeof(u64) > PAGE_SIZE)
		return (u64)page + offset;
	*header = (struct svsm_pvalidate_header){ .entries = (u16)below(LIST_MAX + 1), .next = (u16)below(2) };
	if (!below(8))
		header->entries = 0xFFFF; /* refused because of its size: the SVSM does not read past the list */
	for (u32 i = 0; i < LIST_MAX; i++)
		((a64 *)(header + 1))[i] = foreign_page() | below(16);
	return below(4) ? (u64)header : address();
}

/* Interrupts with the vectors of exceptions would be handled as exceptions. */
static u64 interrupt_command(u64 command)
{
	return (command & APIC_ICR_VECTOR) < EXCEPTIONS_END ? command | EXCEPTIONS_END : command;
}

/* The parameters name the call as one that is not made. */
static bool left_out(u32 protocol, u32 call)
{
	char name[] = "call/0/0";

	if (protocol > 9 || call > 9)
		return false;
	name[5] += (char)protocol;
	name[7] += (char)call;
	return tap_is_skipped(name);
}

static void call_apic(u32 call)
{
	u64 rcx = value(), rdx = value();

	if ((call == SVSM_APIC_READ_REGISTER || call == SVSM_APIC_WRITE_REGISTER) && below(8))
		rcx = MSR_X2APIC_FIRST + below(0x100);
	if (call == SVSM_APIC_WRITE_REGISTER && (rcx == X2(APIC_ICR) || rcx == X2(APIC_SELF_IPI)))
		rdx = interrupt_command(rdx);
	if (call == SVSM_APIC_CONFIGURE && rcx == SVSM_APIC_CONFIGURE_DEREGISTER)
		configure(SVSM_APIC_CONFIGURE_REGISTER); /* so that it is not the last one */
	fuzz.succeeded += svsm_request(SVSM_CALL(SVSM_PROTOCOL_APIC, call), rcx, rdx, value()).rax == SVSM_SUCCESS;
}

static void call_core(u32 call)
{
	u64 rcx = address(), rdx = address(), r8 = any() | 1; /* an APIC ID that is not this CPU's */

	if (call == SVSM_CORE_PVALIDATE)
		rcx = pvalidate_list();
	if (call == SVSM_CORE_REMAP_CA)
		rcx = below(2) ? rcx | 1 : svsm_page(); /* the calling area stays where it is */
	if (call == SVSM_CORE_QUERY_PROTOCOL || call == SVSM_CORE_CONFIGURE_VTOM)
		rcx = value();
	fuzz.succeeded += svsm_request(SVSM_CALL(SVSM_PROTOCOL_CORE, call), rcx, rdx, r8).rax == SVSM_SUCCESS;
}

static void call_svsm(void)
{
	u32 call = below(8) ? below(9) : (u32)any(), protocol;

	fuzz.calls++;
	switch (below(4)) {
	case 0:
		if (!left_out(SVSM_PROTOCOL_CORE, call))
			call_core(call);
		break;
	case 1:
		protocol = below(2) ? below(8) | 4 : (u32)any() | 8;
		if (!left_out(protocol, call))
			svsm_request(SVSM_CALL(protocol, call), value(), value(), value());
		break;
	default:
		if (!left_out(SVSM_PROTOCOL_APIC, call))
			call_apic(call);
	}
}

static const u32 known_events[] = {
	NAE_DR7_READ, NAE_DR7_WRITE, NAE_RDTSC, NAE_RDPMC, NAE_CPUID, NAE_INVD, NAE_IOIO, NAE_MSR, NAE_MSR, NAE_VMMCALL,
	NAE_RDTSCP, NAE_WBINVD, NAE_MONITOR, NAE_MWAIT, NAE_NPF, NAE_MMIO_READ, NAE_NMI_COMPLETE, NAE_AP_JUMP_TABLE, NAE_PSC,
	NAE_GUEST_REQUEST, NAE_EXTENDED_GUEST_REQUEST, NAE_AP_CREATION, NAE_HV_DOORBELL, NAE_HV_IPI, NAE_HV_TIMER,
	NAE_APIC_IDS, NAE_RUN_VMPL, NAE_SECURE_AVIC, NAE_CONFIGURE_INJECTION, NAE_SPECIFIC_EOI, NAE_HV_FEATURES,
};

static u32 event_code(void)
{
	u32 code = below(16) ? known_events[below(sizeof(known_events) / sizeof(known_events[0]))] : (u32)any();

	switch (code) {
	case NAE_SHUTDOWN:
	case NAE_AP_RESET_HOLD:
	case NAE_TERMINATE:
	case NAE_UNSUPPORTED:
		return NAE_HV_FEATURES;
	default:
		return code;
	}
}

/* Not MSRs that start or reset a CPU, and not those that make KVM write to memory. */
static bool msr_may_be_written(u32 msr)
{
	return (msr >= MSR_X2APIC_FIRST && msr <= MSR_X2APIC_LAST && msr != X2(APIC_ICR)) || msr == MSR_APIC_BASE;
}

static void pages_of_a_list(void)
{
	volatile a64 *buffer = (volatile a64 *)(GHCB_PAGE + GHCB_SHARED_BUFFER);

	buffer[0] = (u64)below(LIST_MAX) << 16 | below(4) | (below(8) ? 0 : any() << 32); /* struct nae_psc_header */
	for (u32 i = 1; i <= LIST_MAX; i++)
		buffer[i] = arena() | (u64)below(16) << NAE_PSC_OP_SHIFT | below(2);
}

static void event(void)
{
	u32 code = event_code(), msr = (u32)any();
	u64 info1 = value(), info2 = value();

	fuzz.events++;
	ghcb_clear();
	for (u32 i = 0; i < 4; i++) {
		static const u32 fields[] = { GHCB_RAX, GHCB_RBX, GHCB_RCX, GHCB_RDX };

		if (below(4))
			ghcb_set(fields[i], value());
	}
	if (below(4))
		ghcb_set(GHCB_SW_SCRATCH, below(2) ? GHCB_PAGE + GHCB_SHARED_BUFFER : address());
	switch (code) {
	case NAE_IOIO:
		info1 = (info1 | NAE_IOIO_IN) & ~NAE_IOIO_STRING; /* nothing is sent to a device, and no device writes to memory */
		break;
	case NAE_MSR:
		if (below(4))
			msr = below(8) ? MSR_X2APIC_FIRST + below(0x100) : (u32)MSR_APIC_BASE;
		if (!msr_may_be_written(msr))
			info1 &= ~(u64)NAE_MSR_WRITE;
		ghcb_set(GHCB_RCX, msr);
		break;
	case NAE_PSC:
		ghcb_set(GHCB_SW_SCRATCH, GHCB_PAGE + GHCB_SHARED_BUFFER);
		pages_of_a_list();
		break;
	case NAE_GUEST_REQUEST:
	case NAE_EXTENDED_GUEST_REQUEST: /* KVM ends a guest without memory there */
		info1 = BUFFER_PAGE + below(2) * below(16);
		info2 = below(8) ? RESPONSE : BUFFER_PAGE;
		ghcb_set(GHCB_RAX, BUFFER_PAGE);
		ghcb_set(GHCB_RBX, below(2));
		break;
	case NAE_AP_CREATION:
	case NAE_HV_IPI:
		info1 |= BIT(32); /* of another CPU */
		break;
	default:
		break;
	}
	fuzz.succeeded += nae(code, info1, info2) == NAE_RESULT_OK;
}

static void request(void)
{
	u64 code = below(8) ? below(0x20) : below(0x1000), data = any() & ~GHCB_MSR_INFO_MASK;

	fuzz.requests++;
	switch (code) {
	case GHCB_MSR_GPA:
	case GHCB_MSR_AP_RESET_HOLD_REQ:
	case GHCB_MSR_TERM_REQ:
		return;
	case GHCB_MSR_PSC_REQ:
		data = arena() | (u64)below(16) << GHCB_MSR_PSC_OP_SHIFT;
		break;
	default:
		break;
	}
	msr_protocol(data | code);
	msr_protocol(GHCB_PAGE | GHCB_MSR_REG_GPA_REQ);
}

static void progress(const char *what)
{
	ghcb_clear();
	print("# ");
	print(what);
	tap_number("calls", fuzz.calls);
	tap_number("events", fuzz.events);
	tap_number("requests", fuzz.requests);
	tap_number("succeeded", fuzz.succeeded);
	tap_number("broken", fuzz.broken);
	print("\n");
}

static void one(void)
{
	u64 flags = interrupts_off();

	switch (platform.svsm ? below(3) : 1 + below(2)) {
	case 0:
		call_svsm();
		break;
	case 1:
		event();
		break;
	default:
		request();
	}
	interrupts_restore(flags);
}

/* On an intact platform the access does not complete, and this function does not return. */
static void touch(enum touch how)
{
	volatile u64 *page = map_page(TOUCHED, secrets()->svsm_base, true);
	u64 got;

	tap_note(how == TOUCH_READ ? "reading a page of the SVSM" : "writing a page of the SVSM");
	if (how == TOUCH_WRITE)
		*page = parameters()->seed;
	got = *page;
	print("Bail out! a page of the SVSM could be accessed, it reads ");
	print_hex(got);
	print("\n");
}

void run_fuzz(void)
{
	u64 limit = clock_ticks(parameters()->duration_ms * 1000ull), second = clock_ticks(1000000);
	u64 begun = rdtsc(), reported = begun;
	enum touch how = (enum touch)parameters()->touch;

	tap_begin(2);
	platform_print();
	tap_note("begin fuzz/survived");
	fuzz.seed = parameters()->seed | 1; /* the generator returns only zeros for seed 0 */
	for (u64 i = 0; i < CANARY_WORDS; i++)
		canary[i] = canary_word(i);
	if (platform.snp)
		make_shared(RESPONSE);
	trap_as_interrupt(GHCB_DOORBELL_FIRST_VECTOR, true);
	on_interrupt = end_interrupt_uncounted;
	sti();
	while (platform.snp && rdtsc() - begun < limit) {
		for (u32 i = 0; i < CANARY_EVERY; i++)
			one();
		check_canaries();
		if (rdtsc() - reported >= second) {
			reported = rdtsc();
			progress("fuzz");
		}
	}
	cli();
	progress("survived");
	tap_result("fuzz/survived", true, platform.snp ? NULL : "not an SEV-SNP guest");
	tap_result("fuzz/own-memory-unchanged", !fuzz.broken, platform.snp ? NULL : "not an SEV-SNP guest");
	tap_end();
	if (how != TOUCH_NOTHING && platform.svsm)
		touch(how);
}
