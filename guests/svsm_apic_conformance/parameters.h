/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is patched into the image before a run (docs/conformance.md), 11000h bytes from its start; zeros: the points. */
#ifndef PARAMETERS_H
#define PARAMETERS_H

#include "layout.h"
#include "types.h"

#define PARAMETERS_MAGIC   0x464E4F4343495041ull /* "APICCONF" */
#define PARAMETERS_VERSION 1

enum run_mode {
	RUN_POINTS = 0,
	RUN_TICKS = 1,
	RUN_FUZZ = 2,
};

/* What a fuzz run does at its end with a page of the SVSM: on an intact platform, nothing comes after it. */
enum touch {
	TOUCH_NOTHING = 0,
	TOUCH_READ = 1,
	TOUCH_WRITE = 2,
};

struct conformance_parameters {
	u64 magic;
	u32 version;
	u32 mode;        /* enum run_mode */
	u32 ticks;       /* RUN_TICKS: so many */
	u32 period_us;   /* RUN_TICKS: of the timer */
	u32 load;        /* RUN_TICKS: 1: exits and SVSM calls all the time */
	u32 touch;       /* RUN_FUZZ: enum touch */
	u64 seed;        /* RUN_FUZZ */
	u32 duration_ms; /* RUN_FUZZ */
	u32 missed_allowed; /* RUN_TICKS: reloads of the timer without an interrupt, where the machine may be busy */
};

static inline const volatile struct conformance_parameters *parameters(void)
{
	return (const volatile struct conformance_parameters *)PARAMETERS;
}

#endif
