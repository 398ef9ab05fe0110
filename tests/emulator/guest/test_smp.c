/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Several vCPUs: how they start and stop, and what each of them has separately. */
#include "smp.h"
#include "apic_access.h"

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

#define MTRR_PHYS_BASE0 0x200u
#define MTRR_DEF_TYPE   0x2FFu
#define MC0_CTL         0x400u

static void use_own_msrs(struct ap *ap)
{
	ap->value[0] = ap_msr_in(ap, MTRR_PHYS_BASE0) == 0 && ap_msr_out(ap, MTRR_PHYS_BASE0, ap->index << 12 | 6);
	ap->value[1] = ap_msr_in(ap, MC0_CTL) == ~0ull && ap_msr_out(ap, MC0_CTL, 0);
	ap->value[2] = ap_msr_in(ap, MTRR_PHYS_BASE0);
}

SMP_TEST(smp_mtrrs_and_machine_checks_are_each_ones_own, ALL)
{
	u64 value;

	CHECK(ap_start_all());
	for (u64 i = 1; i < parameters->vcpus; i++) {
		CHECK(ap_run(i, use_own_msrs));
		CHECK(aps[i].value[0]);
		CHECK(aps[i].value[1]);
		EQUAL(aps[i].value[2], i << 12 | 6);
	}
	CHECK(msr_in(MTRR_PHYS_BASE0, &value));
	EQUAL(value, 0);
	CHECK(msr_in(MC0_CTL, &value));
	EQUAL(value, ~0ull);
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
	one_does(1, hand_back);
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
	one_does(last_ap(), own_timer);
	CHECK(wait_until(&takers[VECTOR], BIT(last_ap()), PATIENCE_MS));
	CHECK(all_done());
	EQUAL(takers[VECTOR], BIT(last_ap()));
	EQUAL(apic_read(APIC_TIMER_INITIAL), 0);
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
	one_does(1, command);
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

static void init_itself(struct ap *ap)
{
	ap->value[0] = 1;
	ap_msr_out(ap, X2(APIC_ICR), TO(ap->index) | ICR(APIC_DELIVER_INIT, 0));
	ap->value[1] = 1;
}

/* `goes_on`: SIPI does not start it anew, because its registers are its own. */
static void stop_by_itself(bool goes_on)
{
	u64 started;

	CHECK(ap_start_all());
	prepare();
	started = aps[1].started;
	aps[1].value[1] = 0;
	one_does(1, init_itself);
	CHECK(!ap_is_running(1));
	EQUAL(aps[1].value[1], 0);
	if (!goes_on)
		aps[1].command = NULL;
	send(TO(1) | ICR(APIC_DELIVER_STARTUP, AP_START >> 12));
	CHECK(goes_on ? ap_wait(1) : ap_is_running(1));
	EQUAL(aps[1].value[1], goes_on);
	EQUAL(aps[1].started, goes_on ? started : started + 1);
}

SMP_TEST(smp_init_to_itself_stops_an_ap, PLAIN) { stop_by_itself(false); }
SMP_TEST(smp_init_to_itself_stops_an_ap_with_a_vmsa, SEV) { stop_by_itself(true); }

static void init_the_boot_vcpu(struct ap *ap)
{
	ap->value[0] = ap_msr_out(ap, X2(APIC_ICR), TO(0) | ICR(APIC_DELIVER_INIT, 0));
}

/* KVM: the boot vCPU does not wait for SIPI (kvm_apic_accept_events), and its registers are its own. */
SMP_TEST(smp_init_leaves_a_boot_vcpu_with_a_vmsa, SEV)
{
	CHECK(ap_start_all());
	prepare();
	CHECK(ap_run(1, init_the_boot_vcpu));
	CHECK(aps[1].value[0]);
	apic_write(APIC_ICR, TO(0) | ICR(APIC_DELIVER_INIT, 0)); /* and to itself */
	CHECK(ap_is_running(1));
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

#define SPIV_IN_USE (APIC_SPIV_ENABLE | 0x40)

static void use_apic(struct ap *ap)
{
	ap->value[0] = ap_msr_out(ap, X2(APIC_SPIV), SPIV_IN_USE) && ap_msr_out(ap, X2(APIC_TPR), 0x80);
}

static void read_apic(struct ap *ap)
{
	ap->value[0] = ap_msr_in(ap, X2(APIC_SPIV));
	ap->value[1] = ap_msr_in(ap, X2(APIC_TPR));
	ap->value[2] = ap_msr_in(ap, MSR_APIC_BASE) & MODE_BITS;
}

/* KVM: kvm_vcpu_reset(vcpu, true) at KVM_REQ_UPDATE_PROTECTED_GUEST_STATE, as for an INIT: the mode stays. */
SMP_TEST(smp_creation_resets_the_apic, SEV)
{
	CHECK(ap_start_all());
	prepare();
	CHECK(ap_run(1, use_apic));
	CHECK(aps[1].value[0]);
	EQUAL(ap_creation(NAE_AP_DESTROY, 1), NAE_RESULT_OK);
	CHECK(ap_unmake_vmsa(1));
	CHECK(ap_start(1));
	CHECK(ap_run(1, read_apic));
	EQUAL(aps[1].value[0], APIC_RESET_SPIV);
	EQUAL(aps[1].value[1], 0);
	EQUAL(aps[1].value[2], MODE_BITS);
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
