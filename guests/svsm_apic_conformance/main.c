/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A firmware that tests an SVSM's APIC protocol and a hypervisor's APIC_BASE rules from outside. It does not depend on
 * their implementations and can replace OVMF in an IGVM file. docs/conformance.md lists its points.
 */
#include "clock.h"
#include "cpu.h"
#include "groups.h"
#include "ghcb.h"
#include "io.h"
#include "modes.h"
#include "parameters.h"
#include "platform.h"
#include "start.h"
#include "tap.h"
#include "trap.h"
#include "vc.h"
#include "vmgexit.h"

/* How the run ends: GHCB termination with this reason set and one of these reasons (docs/conformance.md). */
#define END_SET 6u
enum end_reason {
	END_PASSED = 0,
	END_FAILED = 1,
};

static const struct conformance_parameters initial __attribute__((used, section(".parameters"))) = {
	.magic = PARAMETERS_MAGIC,
	.version = PARAMETERS_VERSION,
};

static const struct group *const groups[] = {
	&apic_base_group, &core_group, &calls_group, &registers_group, &values_group, &delivery_group, &priority_group,
	&classes_group,
	&in_service_group, &eoi_group, &nmi_group, &masking_group, &other_vcpu_group, &other_doorbell_group,
	&other_vcpu_again_group, &vectors_group, &timer_group, &level_group,
	&registration_group, /* ends the APIC that the groups before it test */
	&registration_others_group, &registration_again_group,
};
#define GROUPS (sizeof(groups) / sizeof(groups[0]))

static void run_points(void)
{
	u32 points = 0;

	for (u32 i = 0; i < GROUPS; i++)
		points += groups[i]->count;
	tap_begin(points);
	platform_print();
	for (u32 i = 0; i < GROUPS; i++)
		tap_run(groups[i]);
	tap_end();
}

static _Noreturn void end(void)
{
	enum end_reason reason = tap_failures() ? END_FAILED : END_PASSED;

	if (sev())
		msr_protocol(GHCB_MSR_TERM_REQ | END_SET << GHCB_MSR_TERM_SET_SHIFT | (u64)reason << GHCB_MSR_TERM_REASON_SHIFT);
	triple_fault(); /* without a GHCB */
}

static void guest_main(void)
{
	static const struct trap_hooks trap_hooks = { .exception = vc_handle, .unexpected = tap_unexpected_exception };

	traps_setup(&trap_hooks);
	if (sev())
		ghcb_setup();
	pic_mask_all(); /* the PIT would interrupt with a vector that was not set */
	clock_setup();
	platform_find();
	switch (parameters()->mode) {
	case RUN_TICKS:
		tap_run_mode(run_ticks);
		break;
	case RUN_FUZZ:
		tap_run_mode(run_fuzz);
		break;
	default:
		run_points();
	}
	end();
}

GUEST_HOOKS = { .main = guest_main };
