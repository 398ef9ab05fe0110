/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the plugin in QEMU may answer for the emulated hardware without an #VMEXIT. It is in the emulator's RAM, which no
 * guest reaches; struct view has its address. The hardware writes it before each VMRUN and clears `allowed` after the
 * #VMEXIT, since the plugin sees the emulator's own instructions, too. The plugin writes only `answered`.
 */
#ifndef SNP_IN_PLACE_H
#define SNP_IN_PLACE_H

#include "types.h"

/* exit_count of struct record_ring, and RECORD_STATS: answers of the plugin. No #VMEXIT has this code. */
#define IN_PLACE_COUNT 0xFD

struct in_place {
	u64 allowed;    /* 1: the guest has both MSRs, and #VMEXITs need no record each */
	u64 ghcb;       /* MSR C0010130 of the VMPL that runs */
	u64 sev_status; /* MSR C0010131 */
	u64 answered;   /* how many reads, so far */
};

#endif
