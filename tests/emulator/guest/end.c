/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ways to end a run: each has to leave a record that explains it. */
#include "guest.h"

/* build.py has the same numbers. */
enum ending {
	END_NORMAL = 0,
	END_TRIPLE_FAULT = 1,
};

static _Noreturn void stop(void)
{
	for (;;)
		__asm__ volatile("cli; hlt");
}

static _Noreturn void triple_fault(void)
{
	const struct __attribute__((packed)) { u16 limit; u64 base; } nothing = { 0, 0 };

	__asm__ volatile("lidt %0; ud2" : : "m"(nothing));
	stop();
}

_Noreturn void end_run(void)
{
	switch (parameters->end) {
	case END_TRIPLE_FAULT:
		triple_fault();
	default:
		print("end\n");
		if (!sev())
			triple_fault();
		msr_protocol(GHCB_MSR_TERM_REQ | 5 << GHCB_MSR_TERM_SET_SHIFT | 0x42 << GHCB_MSR_TERM_REASON_SHIFT);
		stop();
	}
}
