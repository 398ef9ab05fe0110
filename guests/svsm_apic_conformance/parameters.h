/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Parameters in the image, 11000h bytes from its start (docs/conformance.md). Zeros: the points run. */
#ifndef PARAMETERS_H
#define PARAMETERS_H

#include "layout.h"
#include "types.h"

#define PARAMETERS_MAGIC   0x464E4F4343495041ull /* "APICCONF" */
#define PARAMETERS_VERSION 2
#define SKIPPED_MAX        3000

enum run_mode {
	RUN_POINTS = 0,
	RUN_TICKS = 1,
	RUN_FUZZ = 2,
};

/* The access to a page of the SVSM at the end of a fuzz run. On an intact platform it does not complete. */
enum touch {
	TOUCH_NOTHING = 0,
	TOUCH_READ = 1,
	TOUCH_WRITE = 2,
};

struct conformance_parameters {
	u64 magic;
	u32 version;
	u32 mode;        /* enum run_mode */
	u32 ticks;       /* RUN_TICKS: number of ticks */
	u32 period_us;   /* RUN_TICKS: period of the timer */
	u32 load;        /* RUN_TICKS: 1: exits and SVSM calls during the run */
	u32 touch;       /* RUN_FUZZ: enum touch */
	u64 seed;        /* RUN_FUZZ */
	u32 duration_ms; /* RUN_FUZZ */
	u32 missed_allowed; /* RUN_TICKS: accepted number of reloads without an interrupt, on a busy machine */
	/* A line each, then a zero. RUN_POINTS: points that do not run. RUN_FUZZ: calls that are not made, "call/0/1". */
	char skipped[SKIPPED_MAX];
};
_Static_assert(sizeof(struct conformance_parameters) <= PARAMETERS_USED, "layout.h");

static inline const volatile struct conformance_parameters *parameters(void)
{
	return (const volatile struct conformance_parameters *)PARAMETERS;
}

#endif
