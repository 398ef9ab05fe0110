/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Several vCPUs: how they start and stop, what each of them has separately, and the interrupts between them. */
#include "guest.h"
#include "apic_access.h"
#include "edu.h"
#include "hpet.h"

#define VECTOR  0x61
#define PATIENCE_MS 1000
#define ICR(mode, vector) ((u64)(mode) << APIC_ICR_DELIVERY_SHIFT | APIC_ICR_ASSERT | (vector))
#define TO(destination)   ((u64)(destination) << APIC_ICR_DESTINATION_SHIFT)

static u64 last_ap(void) { return parameters->vcpus - 1; }

SMP_TEST(smp_apic_ids_are_listed, SEV)
{
	ghcb_set(GHCB_RAX, 1);
	EQUAL(nae(NAE_APIC_IDS, BUFFER_PAGE, 0), NAE_RESULT_OK);
	EQUAL(*(volatile a32 *)BUFFER_PAGE, parameters->vcpus);
	for (u64 i = 0; i < parameters->vcpus; i++)
		EQUAL(*(volatile a32 *)(BUFFER_PAGE + 4 + 4 * i), i);
}

SMP_TEST(smp_aps_start, ALL)
{
	for (u64 i = 1; i < parameters->vcpus; i++) {
		EQUAL(aps[i].started, 0);
		CHECK(ap_start(i));
		EQUAL(aps[i].started, 1);
	}
}

static void read_ids(struct ap *ap)
{
	ap->value[0] = ap_cpuid(ap, 1).ebx >> 24;
	ap->value[1] = ap_cpuid(ap, 0xB).edx;
	ap->value[2] = ap_cpuid(ap, 0x8000001E).eax;
	ap->value[3] = ap_msr_in(ap, MSR_APIC_BASE);
}

SMP_TEST(smp_cpuid_and_apic_base_are_each_ones_own, ALL)
{
	CHECK(ap_start_all());
	for (u64 i = 1; i < parameters->vcpus; i++) {
		CHECK(ap_run(i, read_ids));
		EQUAL(aps[i].value[0], i);
		EQUAL(aps[i].value[1], i);
		EQUAL(aps[i].value[2], i);
		EQUAL(aps[i].value[3], APIC_DEFAULT_BASE | APIC_BASE_EN);
	}
	CHECK(apic_base() & APIC_BASE_BSP);
}

#define ELSEWHERE 0xFED10000ull

/* An AP that has moved its APIC reads the page at reset, where the boot vCPU's still is. */
static void move_and_read(struct ap *ap)
{
	ap->value[0] = ap_msr_out(ap, MSR_APIC_BASE, ELSEWHERE | APIC_BASE_EN);
	ap->value[1] = *(volatile u32 *)(APIC_DEFAULT_BASE + APIC_VERSION);
	ap->value[2] = *(volatile u32 *)(ELSEWHERE + APIC_VERSION);
}

static void move_back(struct ap *ap) { ap->value[0] = ap_msr_out(ap, MSR_APIC_BASE, APIC_DEFAULT_BASE | APIC_BASE_EN); }

SMP_TEST(smp_page_of_another_apic_is_not_mapped, PLAIN)
{
	CHECK(ap_start_all());
	CHECK(apic_set_mode(APIC_BASE_EN));
	CHECK(ap_run(1, move_and_read));
	CHECK(aps[1].value[0]);
	EQUAL(aps[1].value[1], 0xFFFFFFFF);
	EQUAL(aps[1].value[2], 0x50014);
	EQUAL(*(volatile u32 *)(APIC_DEFAULT_BASE + APIC_VERSION), 0x50014);
	CHECK(*(volatile u32 *)(ELSEWHERE + APIC_VERSION) != 0x50014); /* no APIC of the boot vCPU's is there */
	EQUAL(*(volatile u32 *)(APIC_DEFAULT_BASE + APIC_VERSION), 0x50014);
	CHECK(ap_run(1, move_and_read)); /* and no page of a device hides it now */
	EQUAL(aps[1].value[2], 0x50014);
	CHECK(ap_run(1, move_back));
	CHECK(aps[1].value[0]);
}

static void to_x2apic(struct ap *ap)
{
	ap->value[0] = ap_msr_out(ap, MSR_APIC_BASE, APIC_DEFAULT_BASE | MODE_BITS);
	ap->value[1] = ap_msr_in(ap, X2(APIC_ID));
	ap->value[2] = ap_msr_in(ap, X2(APIC_LDR));
	ap->value[3] = ap_msr_out(ap, X2(APIC_SPIV), 0x1FF);
}

SMP_TEST(smp_modes_are_each_ones_own, ALL | ALTERNATE)
{
	CHECK(ap_start_all());
	CHECK(apic_set_mode(APIC_BASE_EN));
	for (u64 i = 1; i < parameters->vcpus; i++) {
		CHECK(ap_run(i, to_x2apic));
		CHECK(aps[i].value[0] && aps[i].value[3]);
		EQUAL(aps[i].value[1], i);
		EQUAL(aps[i].value[2], 1u << i);
	}
	EQUAL(apic_base() & MODE_BITS, APIC_BASE_EN);
}

/* The vCPUs that handled a vector: a bit for each. */
static volatile u64 takers[256];
static void note_taker(u8 vector) { takers[vector] |= BIT(ap_self()); }

static u64 end_of_interrupt(struct ap *ap)
{
	if (has_svsm() && (ap_features() & SEV_FEATURES_ALTERNATE_INJECTION))
		return ap_svsm_call(ap, SVSM_CALL(SVSM_PROTOCOL_APIC, SVSM_APIC_WRITE_REGISTER), X2(APIC_EOI), 0).rax;
	return !ap_msr_out(ap, X2(APIC_EOI), 0);
}

static volatile bool released;

/* Interrupts on until `released` is set. Interrupts that were sent before are handled by then. */
static void take_interrupts(struct ap *ap)
{
	ap->value[0] = 1;
	sti();
	while (!released)
		pause();
	cli();
	ap->value[1] = end_of_interrupt(ap);
}

static void halt(struct ap *ap)
{
	ap->value[0] = 1;
	halt_once();
	ap->value[1] = end_of_interrupt(ap);
}

static bool all_do(void (*command)(struct ap *ap))
{
	released = false;
	for (u64 i = 1; i < parameters->vcpus; i++) {
		aps[i].value[0] = 0;
		ap_command(i, command);
		while (!aps[i].value[0])
			pause();
	}
	return true;
}

static bool all_done(void)
{
	released = true;
	for (u64 i = 1; i < parameters->vcpus; i++) {
		if (!ap_wait(i))
			return false;
	}
	return true;
}

static u64 aps_mask(void) { return BIT(parameters->vcpus) - 2; }

static void send(u64 icr) { apic_write(APIC_ICR, icr); }

static void prepare(void)
{
	apic_prepare(MODE_BITS);
	for (u64 i = 1; i < parameters->vcpus; i++)
		ap_run(i, to_x2apic);
	for (u32 i = 0; i < 256; i++)
		takers[i] = 0;
	on_interrupt = note_taker;
}

struct sending {
	u64 icr;
	u64 reached; /* 0: every AP */
};

static void expect(const struct sending *sending, u32 count)
{
	for (u32 i = 0; i < count; i++) {
		u8 vector = (u8)(VECTOR + i);

		prepare();
		CHECK(all_do(take_interrupts));
		send(sending[i].icr | vector);
		CHECK(all_done());
		EQUAL(takers[vector], sending[i].reached ? sending[i].reached : aps_mask());
	}
}

SMP_TEST(smp_fixed_ipis_reach_their_destinations, ALL)
{
	static const struct sending sending[] = {
		{ TO(1) | ICR(APIC_DELIVER_FIXED, 0), BIT(1) },
		{ TO(2) | ICR(APIC_DELIVER_FIXED, 0), BIT(2) },
		{ TO(6) | APIC_ICR_LOGICAL | ICR(APIC_DELIVER_FIXED, 0), BIT(1) | BIT(2) },
		{ APIC_SHORTHAND_OTHERS | ICR(APIC_DELIVER_FIXED, 0), 0 },
		{ TO(0x7FFFFFFF) | ICR(APIC_DELIVER_FIXED, 0), ~0ull }, /* no APIC has this ID: see below */
	};
	CHECK(ap_start_all());
	expect(sending, 4);
	prepare();
	CHECK(all_do(take_interrupts));
	send(sending[4].icr | VECTOR);
	CHECK(all_done());
	EQUAL(takers[VECTOR], 0);
}

SMP_TEST(smp_a_broadcast_reaches_everybody, ALL)
{
	CHECK(ap_start_all());
	prepare();
	CHECK(all_do(take_interrupts));
	send(TO(APIC_BROADCAST) | ICR(APIC_DELIVER_FIXED, VECTOR));
	sti();
	CHECK(all_done());
	cli();
	apic_write(APIC_EOI, 0);
	EQUAL(takers[VECTOR], aps_mask() | 1);
}

SMP_TEST(smp_lowest_priority_reaches_one, ALL)
{
	CHECK(ap_start_all());
	prepare();
	apic_write(APIC_TPR, 0xF0); /* so that it is not the sender */
	CHECK(all_do(take_interrupts));
	send(TO(7) | APIC_ICR_LOGICAL | ICR(APIC_DELIVER_LOWEST, VECTOR));
	CHECK(all_done());
	apic_write(APIC_TPR, 0);
	EQUAL(takers[VECTOR], BIT(1));
}

SMP_TEST(smp_an_nmi_reaches_one, ALL)
{
	CHECK(ap_start_all());
	prepare();
	CHECK(all_do(take_interrupts));
	send(TO(last_ap()) | ICR(APIC_DELIVER_NMI, 0));
	CHECK(all_done());
	EQUAL(takers[VECTOR_NMI], BIT(last_ap()));
}

SMP_TEST(smp_an_ipi_ends_hlt, ALL)
{
	CHECK(ap_start_all());
	prepare();
	CHECK(all_do(halt));
	CHECK(!ap_is_running(1)); /* all are in HLT now */
	send(APIC_SHORTHAND_OTHERS | ICR(APIC_DELIVER_FIXED, VECTOR));
	CHECK(all_done());
	EQUAL(takers[VECTOR], aps_mask());
}

#define HANDOVERS 100
#define HANDOVER_NS 1000000

static volatile u64 turn; /* odd: the AP's */

static void hand_back(struct ap *ap)
{
	ap->value[0] = 1;
	while (turn < 2 * HANDOVERS) {
		if (turn & 1)
			turn++;
	}
}

/* Each waits for the other without PAUSE. The fastest of many: the machine may be busy with something else. */
SMP_TEST(smp_a_wait_without_pause_is_short, ALL)
{
	u64 fastest = ~0ull;

	CHECK(ap_start_all());
	turn = 0;
	aps[1].value[0] = 0;
	ap_command(1, hand_back);
	while (!aps[1].value[0])
		pause();
	for (u64 i = 0; i < HANDOVERS; i++) {
		u64 start = rdtsc(), passed;

		turn++;
		while (turn & 1)
			;
		passed = rdtsc() - start;
		if (passed < fastest)
			fastest = passed;
	}
	CHECK(ap_wait(1));
	CHECK(clock_ns(fastest) < HANDOVER_NS);
}

static void send_to_boot(struct ap *ap)
{
	ap->value[0] = ap_msr_out(ap, X2(APIC_ICR), TO(0) | ICR(APIC_DELIVER_FIXED, VECTOR));
}

SMP_TEST(smp_an_ap_sends_to_the_boot_vcpu, ALL)
{
	CHECK(ap_start_all());
	prepare();
	CHECK(ap_run(1, send_to_boot));
	CHECK(aps[1].value[0]);
	CHECK(wait_until(&interrupts[VECTOR], 1, PATIENCE_MS));
	apic_write(APIC_EOI, 0);
	EQUAL(takers[VECTOR], 1);
}

static void own_timer(struct ap *ap)
{
	ap_msr_out(ap, X2(APIC_TIMER_DIVIDE), 0xB);
	ap_msr_out(ap, X2(APIC_LVT_TIMER), VECTOR);
	ap_msr_out(ap, X2(APIC_TIMER_INITIAL), 1000000);
	take_interrupts(ap);
}

SMP_TEST(smp_timers_are_each_ones_own, ALL)
{
	CHECK(ap_start_all());
	prepare();
	released = false;
	ap_command(last_ap(), own_timer);
	CHECK(wait_until(&takers[VECTOR], BIT(last_ap()), PATIENCE_MS));
	released = true;
	CHECK(ap_wait(last_ap()));
	EQUAL(takers[VECTOR], BIT(last_ap()));
	EQUAL(apic_read(APIC_TIMER_INITIAL), 0);
}

/* The second interrupt of a level-triggered entry requires the device's status to be cleared and an EOI. */
static void device_interrupt(u32 mode)
{
	for (u64 round = 0; round < 2; round++) {
		prepare();
		hpet_route_to(last_ap(), VECTOR | mode);
		EQUAL(hpet_destination(), last_ap());
		CHECK(all_do(take_interrupts));
		hpet_after_1_ms(HPET_ENABLE | (mode ? HPET_LEVEL : 0));
		CHECK(wait_until(&takers[VECTOR], BIT(last_ap()), PATIENCE_MS));
		hpet_served();
		CHECK(all_done());
		hpet_off();
		EQUAL(takers[VECTOR], BIT(last_ap()));
	}
}

SMP_TEST(smp_a_device_interrupts_the_ap_it_is_for, ALL)
{
	CHECK(ap_start_all());
	device_interrupt(0);
	device_interrupt(RTE_LEVEL);
}

static void hold_by_msr(struct ap *ap)
{
	ap->value[0] = 1;
	ap->value[1] = msr_protocol(GHCB_MSR_AP_RESET_HOLD_REQ);
}

static void hold_by_event(struct ap *ap)
{
	ap->value[0] = 1;
	ap_nae(ap, NAE_AP_RESET_HOLD, 0, 0);
	ap->value[1] = ghcb_page_get(AP_GHCB(ap->index), GHCB_SW_EXITINFO2);
}

static void hold(void (*command)(struct ap *ap), u64 answer)
{
	prepare();
	aps[1].value[0] = 0;
	ap_command(1, command);
	while (!aps[1].value[0])
		pause();
	CHECK(!ap_is_running(1));
	send(TO(1) | ICR(APIC_DELIVER_FIXED, VECTOR)); /* does not end a hold */
	CHECK(!ap_is_running(1));
	send(TO(1) | ICR(APIC_DELIVER_INIT, 0));
	CHECK(!ap_is_running(1));
	send(TO(1) | ICR(APIC_DELIVER_STARTUP, AP_START >> 12));
	CHECK(ap_wait(1));
	EQUAL(aps[1].value[1], answer);
}

SMP_TEST(smp_ap_reset_hold_by_msr_protocol, SEV)
{
	CHECK(ap_start_all());
	hold(hold_by_msr, 1 << GHCB_MSR_DATA_SHIFT | GHCB_MSR_AP_RESET_HOLD_RESP);
}

SMP_TEST(smp_ap_reset_hold_by_event, SEV)
{
	CHECK(ap_start_all());
	hold(hold_by_event, 1);
}

SMP_TEST(smp_init_stops_and_sipi_starts, PLAIN)
{
	CHECK(ap_start_all());
	prepare();
	send(TO(1) | ICR(APIC_DELIVER_INIT, 0) | APIC_ICR_LEVEL);
	CHECK(!ap_is_running(1));
	send((TO(1) | ICR(APIC_DELIVER_INIT, 0) | APIC_ICR_LEVEL) & ~APIC_ICR_ASSERT); /* a de-assertion does nothing */
	CHECK(!ap_is_running(1));
	send(TO(1) | ICR(APIC_DELIVER_STARTUP, AP_START >> 12));
	CHECK(ap_is_running(1));
	EQUAL(aps[1].started, 2);
	send(TO(1) | ICR(APIC_DELIVER_STARTUP, AP_START >> 12)); /* ignored: it does not wait for one */
	CHECK(ap_is_running(1));
	EQUAL(aps[1].started, 2);
	CHECK(ap_run(1, read_ids));
	EQUAL(aps[1].value[3] & MODE_BITS, MODE_BITS); /* INIT keeps the mode */
}

SMP_TEST(smp_init_and_sipi_keep_a_vmsa, SEV)
{
	CHECK(ap_start_all());
	prepare();
	send(TO(1) | ICR(APIC_DELIVER_INIT, 0));
	CHECK(!ap_is_running(1));
	send(TO(1) | ICR(APIC_DELIVER_STARTUP, AP_START >> 12));
	CHECK(ap_is_running(1));
	EQUAL(aps[1].started, 1);
}

SMP_TEST(smp_ap_creation_refusals, SEV)
{
	u64 create = NAE_AP_CREATE | (u64)own_vmpl() << NAE_AP_VMPL_SHIFT | 1ull << NAE_AP_APIC_ID_SHIFT;
	const struct {
		u64 info1, vmsa, features;
	} bad[] = {
		{ create, AP_VMSA(1) | 8, ap_features() },
		{ create, TEST_AREA, ap_features() },
		{ create, 0x7000000000, ap_features() },
		{ create, AP_VMSA(1), ap_features() | SEV_FEATURES_SECURE_AVIC },
		{ create, AP_VMSA(1), ap_features() & ~SEV_FEATURES_SNP },
		{ create, AP_VMSA(1), 0 },
		{ create + ((u64)parameters->vcpus << NAE_AP_APIC_ID_SHIFT), AP_VMSA(1), ap_features() },
		{ create + 2, AP_VMSA(1), ap_features() },
	};

	CHECK(ap_start_all());
	for (u32 i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		ghcb_set(GHCB_RAX, bad[i].features);
		EQUAL(nae(NAE_AP_CREATION, bad[i].info1, bad[i].vmsa), NAE_RESULT_MALFORMED);
		EQUAL(nae_info2(), NAE_ERR_INVALID_INPUT);
	}
	CHECK(ap_is_running(1));
	EQUAL(aps[1].started, 1);
}

SMP_TEST(smp_destroyed_and_created_again, SEV)
{
	u64 started;

	CHECK(ap_start_all());
	started = aps[1].started;
	EQUAL(ap_creation(NAE_AP_DESTROY, 1), NAE_RESULT_OK);
	CHECK(!ap_is_running(1));
	CHECK(ap_unmake_vmsa(1));
	CHECK(ap_start(1));
	EQUAL(aps[1].started, started + 1);
	CHECK(ap_is_running(1));
}

SMP_TEST(smp_created_at_init, SEV)
{
	u64 started;

	CHECK(ap_start_all());
	prepare();
	EQUAL(ap_creation(NAE_AP_DESTROY, 1), NAE_RESULT_OK);
	CHECK(ap_unmake_vmsa(1));
	CHECK(ap_make_vmsa(1));
	started = aps[1].started;
	EQUAL(ap_creation(NAE_AP_CREATE_ON_INIT, 1), NAE_RESULT_OK);
	CHECK(!ap_is_running(1));
	send(TO(1) | ICR(APIC_DELIVER_INIT, 0));
	CHECK(ap_is_running(1));
	EQUAL(aps[1].started, started + 1);
}

SMP_TEST(smp_a_vmsa_taken_away_stops_its_vcpu, VMPL0)
{
	CHECK(ap_start_all());
	CHECK(ap_unmake_vmsa(1));
	CHECK(!ap_is_running(1));
	CHECK(ap_start(1));
}

#define WRITE_REGISTER SVSM_CALL(SVSM_PROTOCOL_APIC, SVSM_APIC_WRITE_REGISTER)

static void send_by_svsm(u64 icr, void (*command)(struct ap *ap), u64 reached)
{
	for (u32 i = 0; i < 256; i++)
		takers[i] = 0;
	on_interrupt = note_taker;
	CHECK(all_do(command));
	EQUAL(svsm_call(WRITE_REGISTER, X2(APIC_ICR), icr), SVSM_SUCCESS);
	CHECK(all_done());
	EQUAL(takers[icr & 0xFF], reached);
	for (u64 i = 1; i < parameters->vcpus; i++)
		EQUAL(aps[i].value[1], SVSM_SUCCESS);
}

SMP_TEST(smp_svsm_ipis_reach_guests_that_run, ALTERNATE)
{
	CHECK(ap_start_all());
	send_by_svsm(TO(1) | VECTOR, take_interrupts, BIT(1));
	send_by_svsm(TO(6) | APIC_ICR_LOGICAL | VECTOR, take_interrupts, BIT(1) | BIT(2));
	send_by_svsm(APIC_SHORTHAND_OTHERS | VECTOR, take_interrupts, aps_mask());
}

SMP_TEST(smp_svsm_ipis_end_hlt, ALTERNATE)
{
	CHECK(ap_start_all());
	send_by_svsm(APIC_SHORTHAND_OTHERS | VECTOR, halt, aps_mask());
}

SMP_TEST(smp_svsm_refuses_init_and_sipi, ALTERNATE)
{
	CHECK(ap_start_all());
	EQUAL(svsm_call(WRITE_REGISTER, X2(APIC_ICR), TO(1) | ICR(APIC_DELIVER_INIT, 0)), SVSM_ERR_INVALID_PARAMETER);
	EQUAL(svsm_call(WRITE_REGISTER, X2(APIC_ICR), TO(1) | ICR(APIC_DELIVER_STARTUP, 8)), SVSM_ERR_INVALID_PARAMETER);
	CHECK(ap_is_running(1));
}

static void send_to_boot_by_svsm(struct ap *ap)
{
	ap->value[0] = ap_svsm_call(ap, WRITE_REGISTER, X2(APIC_ICR), TO(0) | VECTOR).rax;
}

SMP_TEST(smp_svsm_ipi_of_an_ap, ALTERNATE)
{
	CHECK(ap_start_all());
	takers[VECTOR] = interrupts[VECTOR] = 0;
	on_interrupt = note_taker;
	CHECK(ap_run(1, send_to_boot_by_svsm));
	EQUAL(aps[1].value[0], SVSM_SUCCESS);
	CHECK(wait_until(&interrupts[VECTOR], 1, PATIENCE_MS));
	EQUAL(takers[VECTOR], 1);
	EQUAL(svsm_call(WRITE_REGISTER, X2(APIC_EOI), 0), SVSM_SUCCESS);
}

static bool message_reaches(u32 destination, bool logical, u64 reached)
{
	bool done;

	prepare();
	all_do(take_interrupts);
	edu_begin_message(destination, logical, VECTOR);
	done = wait_until(&takers[VECTOR], reached, PATIENCE_MS);
	return all_done() && done && takers[VECTOR] == reached;
}

SMP_TEST(smp_a_message_reaches_the_vcpu_it_is_for, ALL)
{
	CHECK(ap_start_all());
	edu_setup();
	CHECK(message_reaches((u32)last_ap(), false, BIT(last_ap())));
	CHECK(message_reaches(6, true, 6)); /* x2APIC: vCPUs 1 and 2 of cluster 0 */
}

/* Each vCPU has vectors of its own: an entry of the I/O APIC with the same one for another vCPU changes nothing. */
SMP_TEST(smp_a_message_is_not_an_ioapic_entry, ALL)
{
	CHECK(ap_start_all());
	edu_setup();
	prepare();
	hpet_route_to(last_ap(), VECTOR);
	edu_begin_message(0, false, VECTOR);
	sti();
	CHECK(wait_until(&takers[VECTOR], 1, PATIENCE_MS));
	cli();
	apic_write(APIC_EOI, 0);
	hpet_off();
	EQUAL(takers[VECTOR], 1);
}

static bool message(u32 destination, u32 mode)
{
	edu_begin_message(destination, false, mode << APIC_LVT_DELIVERY_SHIFT | VECTOR);
	while (!edu_is_done())
		pause();
	return true;
}

#define SCRATCH      0x3FF /* of COM1 */
#define EXECUTED     0xA5
#define REAL_MODE    0x7000
#define SMI_HANDLER  0x38000
#define NMI_OF_REAL_MODE 0x8 /* its vector */

/* Where a processor that is not the guest's would execute after INIT, or at an SMI. */
static void plant(void)
{
	static const u8 code[] = { 0xBA, 0xFF, 0x03, 0xB0, EXECUTED, 0xEE, 0xF4, 0xEB, 0xFD }; /* OUT to SCRATCH, HLT for ever */

	for (u32 i = 0; i < sizeof(code); i++) {
		((volatile u8 *)REAL_MODE)[i] = code[i];
		((volatile u8 *)SMI_HANDLER)[i] = code[i];
	}
	*(volatile a32 *)NMI_OF_REAL_MODE = REAL_MODE;
	io_out(SCRATCH, 1, 0);
}

/* QEMU's processors hold nothing of the guest: what stops or starts one of them changes no vCPU. */
SMP_TEST(smp_messages_to_processors, ALL)
{
	CHECK(ap_start_all());
	edu_setup();
	if (!sev())
		plant();
	message(2, APIC_DELIVER_SMI);
	CHECK(message_reaches(2, false, 4));
	for (u32 i = 0; i < 2; i++) {
		message((u32)last_ap(), APIC_DELIVER_INIT);
		message((u32)last_ap(), APIC_DELIVER_SMI);
		message((u32)last_ap(), APIC_DELIVER_NMI);
		message((u32)last_ap(), APIC_DELIVER_STARTUP);
	}
	CHECK(message_reaches(1, false, 2));
	if (!sev())
		EQUAL(io_in(SCRATCH, 1), 0);
}
