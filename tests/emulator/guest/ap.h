/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guest's other vCPUs: starting them as the mode has it, and making them do something. */
#ifndef GUEST_AP_H
#define GUEST_AP_H

#include "guest.h"
#include "vmsa.h"

#define AP_MAX        8
#define AP_STACK_SIZE 0x1000
#define AP_START      0x8000 /* where SIPI starts one: a page below 1 MiB */

/* Four pages of TEST_AREA each: VMSA, the SVSM's calling area behind it, GHCB. */
#define AP_PAGES(index) (TEST_AREA + 0x10000ull + (index) * 0x4000ull)
#define AP_VMSA(index)  AP_PAGES(index)
#define AP_CAA(index)   (AP_PAGES(index) + 0x1000)
#define AP_GHCB(index)  (AP_PAGES(index) + 0x2000)

struct ap {
	volatile u64 started; /* times that it came to ap_main() */
	volatile u64 turns;   /* of its loop: it runs as long as they grow */
	void (*volatile command)(struct ap *ap); /* NULL: done */
	volatile u64 value[4];
	u64 index;
};
extern struct ap aps[AP_MAX];

/* Every AP, from its reset state or a new VMSA; true when all of them came to ap_main(). */
bool ap_start_all(void);
bool ap_start(u64 index);
/* The VMSA of ap_start(), not created yet: true when the page is one. */
bool ap_make_vmsa(u64 index);
u64 ap_creation(u64 operation, u64 index); /* NAE_RESULT_* */
bool ap_unmake_vmsa(u64 index);            /* an ordinary page again */
u64 ap_features(void);

/* The AP runs `command` from now on; and the same until it is done: false when it does not come to an end. */
void ap_command(u64 index, void (*command)(struct ap *ap));
bool ap_wait(u64 index);
bool ap_run(u64 index, void (*command)(struct ap *ap));
bool ap_is_running(u64 index);

/* By the AP itself: requests through its own GHCB. */
u64 ap_nae(struct ap *ap, u64 code, u64 info1, u64 info2);
void ap_ghcb_set(struct ap *ap, u32 offset, u64 value);
u64 ap_ghcb_get(struct ap *ap, u32 offset);
u64 ap_msr_in(struct ap *ap, u32 msr);
bool ap_msr_out(struct ap *ap, u32 msr, u64 value);
void ap_cpuid(struct ap *ap, u32 leaf, u32 subleaf, u32 registers[4]);
u64 ap_svsm_call(struct ap *ap, u64 rax, u64 rcx, u64 rdx);
/* Whose stack this is: 0 for the boot vCPU. */
u64 ap_self(void);

#endif
