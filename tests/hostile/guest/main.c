/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Runs the case that the parameters name. */
#include "hostile.h"

static const struct hostile_parameters initial __attribute__((used, section(".parameters"))) = {
	.magic = PARAMETERS_MAGIC,
};

extern const struct hostile_case *const tests_start[], *const tests_end[];

static void unexpected_exception(u64 vector, u64 error, u64 rip)
{
	print("unexpected exception 0x");
	print_hex(vector);
	print(", error code 0x");
	print_hex(error);
	print(", at 0x");
	print_hex(rip);
	print("\n");
}

static bool is_named(const char *name)
{
	u32 i = 0;

	while (name[i] && parameters->name[i] == name[i])
		i++;
	return parameters->name[i] == name[i];
}

static void run(u64 hostile_case) { ((const struct hostile_case *)hostile_case)->run(); }

static void guest_main(void)
{
	static const struct trap_hooks trap_hooks = { .exception = vc_handle, .unexpected = unexpected_exception };

	traps_setup(&trap_hooks);
	if (sev())
		ghcb_setup();
	pic_mask_all();
	access_setup();
	for (const struct hostile_case *const *entry = tests_start; entry < tests_end; entry++) {
		if (!is_named((*entry)->name))
			continue;
		print("begin\n");
		protect(run, (u64)*entry);
		print("end\n");
	}
	while (dxe_reached) /* the harness ends the run; an end of the guest's own might be seen first */
		pause();
	if (!sev())
		triple_fault();
	msr_protocol(GHCB_MSR_TERM_REQ | 5 << GHCB_MSR_TERM_SET_SHIFT | 0x42 << GHCB_MSR_TERM_REASON_SHIFT);
}

GUEST_HOOKS = { .main = guest_main };
