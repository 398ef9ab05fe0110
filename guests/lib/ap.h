/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A guest's other vCPUs: how they start with and without SEV, and how they run commands. */
#ifndef GUEST_AP_H
#define GUEST_AP_H

#include "cpu.h"
#include "layout.h"
#include "types.h"
#include "vmgexit.h"
#include "vmsa.h"

#define AP_MAX 8

/* Four pages of TEST_AREA for each AP: VMSA, the SVSM's calling area behind it, GHCB. */
#define AP_PAGES(index) (AP_AREA + (index) * 0x4000ull)
#define AP_VMSA(index)  AP_PAGES(index)
#define AP_CAA(index)   (AP_PAGES(index) + 0x1000)
#define AP_GHCB(index)  (AP_PAGES(index) + 0x2000)

struct ap {
	volatile u64 started; /* how often it reached ap_main() */
	volatile u64 turns;   /* of its loop: it runs while they increase */
	void (*volatile command)(struct ap *ap); /* NULL: done */
	volatile u64 value[4];
	u64 index;
};
extern struct ap aps[AP_MAX];

/* Starts the APs 1 to vcpus - 1, from reset or a new VMSA, if they do not run. Returns whether all reached ap_main(). */
bool ap_start_others(u64 vcpus);
bool ap_start(u64 index);
/* Makes the VMSA that ap_start() uses, without AP creation. Returns whether the page is a VMSA. */
bool ap_make_vmsa(u64 index);
void ap_fill_vmsa(struct vmsa *vmsa, u64 index); /* the state of that AP's start */
u64 ap_creation(u64 operation, u64 index); /* NAE_RESULT_* */
bool ap_unmake_vmsa(u64 index);            /* an ordinary page again */
u64 ap_features(void);

/* ap_command() starts `command` on the AP, ap_wait() waits for its end, ap_run() does both. False: it did not end. */
void ap_command(u64 index, void (*command)(struct ap *ap));
bool ap_wait(u64 index);
bool ap_run(u64 index, void (*command)(struct ap *ap));
bool ap_is_running(u64 index);

/* Called by the AP itself: requests through its own GHCB and calling area. */
u64 ap_nae(struct ap *ap, u64 code, u64 info1, u64 info2);
u64 ap_msr_in(struct ap *ap, u32 msr);
bool ap_msr_out(struct ap *ap, u32 msr, u64 value);
struct cpuid ap_cpuid(struct ap *ap, u32 leaf);
struct svsm_reply ap_svsm_call(struct ap *ap, u64 rax, u64 rcx, u64 rdx);
/* The number of the vCPU that calls it, by its stack: 0 is the boot vCPU. */
u64 ap_self(void);
volatile u8 *own_calling_area(void); /* of the vCPU that calls it */

#endif
