/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The other vCPU goes and comes again. It starts as after INIT: with an APIC that has nothing in service or pending (58019,
 * DELETE_VCPU, CREATE_VCPU; APM vol. 2, 16.3.2 and table 14-1; KVM resets its APIC, too: x86.c,
 * KVM_REQ_UPDATE_PROTECTED_GUEST_STATE). Each point depends on the ones before.
 */
#include "groups.h"
#include "platform.h"
#include "svsm_apic.h"
#include "there.h"

#define VECTOR  VECTOR_THERE
#define SAME    SAME_THERE
#define LOWER   0x41 /* of a lower class */
#define TPR     0xB0

static u64 delete_vcpu(void)
{
	return svsm_call(SVSM_CALL(SVSM_PROTOCOL_CORE, SVSM_CORE_DELETE_VCPU), AP_VMSA(THERE), 0);
}

/* VECTOR is in service, SAME pending. */
static void leave_state(struct ap *ap)
{
	ap->value[0] = 1;
	serve_until_release();
	write_there(ap, APIC_ICR, APIC_SHORTHAND_SELF | SAME);
	write_there(ap, APIC_TPR, TPR);
}

static void delete(void)
{
	there_prepare();
	if (!CHECK(other_runs))
		return;
	no_eoi_there = true;
	start_there(leave_state);
	write_register(X2(APIC_ICR), TO(THERE) | VECTOR);
	comes_there(VECTOR, 1);
	finish_there();
	EQUAL(ap_creation(NAE_AP_DESTROY, THERE), NAE_RESULT_OK);
	CHECK(!ap_is_running(THERE));
	EQUAL(delete_vcpu(), SVSM_SUCCESS);
	other_runs = false;
}

static void delete_again(void)
{
	EQUAL(delete_vcpu(), SVSM_ERR_INVALID_PARAMETER);
	EQUAL(delete_vcpu(), SVSM_ERR_INVALID_PARAMETER);
}

/* It has no effect, now or later. */
static void icr_to_nobody(void)
{
	EQUAL(write_register(X2(APIC_ICR), TO(THERE) | LOWER), SVSM_SUCCESS);
	let_pass();
	EQUAL(here[LOWER], 0);
}

static void comes_again(void)
{
	other_runs = ap_start(THERE);
	CHECK(other_runs);
	EQUAL(aps[THERE].started, 2);
}

/* value[1]: the first register that is not 0, value[2]: its value. */
static void find_state(struct ap *ap)
{
	static const struct { u32 reg, count; } registers[] = {
		{ APIC_TPR, 1 }, { APIC_PPR, 1 }, { APIC_ISR, APIC_VECTOR_WORDS }, { APIC_TMR, APIC_VECTOR_WORDS },
		{ APIC_IRR, APIC_VECTOR_WORDS }, { APIC_ICR, 1 },
	};

	ap->value[0] = 1;
	ap->value[1] = ap->value[2] = 0;
	for (u32 i = 0; i < sizeof(registers) / sizeof(registers[0]); i++) {
		for (u32 word = 0; word < registers[i].count && !ap->value[2]; word++) {
			ap->value[1] = registers[i].reg + word * 16;
			ap->value[2] = read_there(ap, registers[i].reg + word * 16);
		}
	}
}

static void as_after_init(void)
{
	if (!start_there(find_state) || !finish_there())
		return;
	EQUAL_OF(X2(aps[THERE].value[1]), aps[THERE].value[2], 0);
}

/* The class of LOWER is below what was in service there before. */
static void is_served(void)
{
	if (!start_there(take_there))
		return;
	EQUAL(write_register(X2(APIC_ICR), TO(THERE) | LOWER), SVSM_SUCCESS);
	CHECK(comes_there(LOWER, 1));
	let_pass();
	finish_there();
	EQUAL(there[LOWER], 1);
	EQUAL(there[SAME], 0);
	EQUAL(here[LOWER], 0);
}

static void goes_again(void)
{
	if (!CHECK(other_runs))
		return;
	EQUAL(ap_creation(NAE_AP_DESTROY, THERE), NAE_RESULT_OK);
	CHECK(!ap_is_running(THERE));
	EQUAL(delete_vcpu(), SVSM_SUCCESS);
	there_destroy();
}

static void prepare(void)
{
	svsm_apic_prepare();
	there_forget();
}

#define NEEDS       (NEED_PROTOCOL | NEED_OTHER_VCPU)
#define NEEDS_THERE (NEEDS | NEED_PROTOCOL_THERE)

static const struct point points[] = {
	{ "other-vcpu/delete", NEEDS, .run = delete },
	{ "other-vcpu/delete-again-refused", NEEDS, .run = delete_again },
	{ "other-vcpu/icr-to-a-deleted-one", NEEDS, .run = icr_to_nobody },
	{ "other-vcpu/comes-again", NEEDS, .run = comes_again },
	{ "other-vcpu/comes-again-as-after-init", NEEDS_THERE, .run = as_after_init },
	{ "other-vcpu/comes-again-and-is-served", NEEDS_THERE, .run = is_served },
	{ "other-vcpu/goes-again", NEEDS, .run = goes_again },
};

GROUP(other_vcpu_again_group, points, prepare);
