/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guest's side of the GHCB and of the SVSM calling area. */
#ifndef GUEST_VMGEXIT_H
#define GUEST_VMGEXIT_H

#include "ghcb.h"
#include "svsm.h"
#include "types.h"

static inline void vmgexit(void) { __asm__ volatile("rep; vmmcall" : : : "memory"); }

u64 msr_protocol(u64 request);

/* Any GHCB page, by its address. */
void ghcb_page_set(u64 page, u32 offset, u64 value); /* and its valid bit */
u64 ghcb_page_get(u64 page, u32 offset);
u64 ghcb_page_nae(u64 page, u64 code, u64 info1, u64 info2); /* SW_EXITINFO1 31:0 of the answer */

/* GHCB_PAGE, the boot vCPU's. */
void ghcb_setup(void); /* makes GHCB_PAGE and BUFFER_PAGE shared and registers GHCB_PAGE */
void ghcb_clear(void);
void ghcb_set(u32 offset, u64 value);
u64 ghcb_get(u32 offset);
bool ghcb_valid(u32 offset);
u64 nae(u64 code, u64 info1, u64 info2); /* SW_EXITINFO1 31:0 of the answer */
u64 nae_raw(void);                       /* the same for the request that the page already contains */
u64 nae_info2(void);

bool make_shared(u64 gpa);  /* page state change by MSR protocol 014 */
bool make_private(u64 gpa); /* the same, then validates the page: by PVALIDATE or by the SVSM */

/* A call of the SVSM by MSR protocol 016. rax: the result; SVSM_NOT_ANSWERED if the call is still pending. */
#define SVSM_NOT_ANSWERED (~0ull) /* no result code has this value */
#define SVSM_CALL_BUFFER  0x800   /* offset in the calling area's page: a call's structures */
struct svsm_reply {
	u64 rax, rcx, rdx;
};
struct svsm_reply svsm_request(u64 rax, u64 rcx, u64 rdx, u64 r8);
u64 svsm_call(u64 rax, u64 rcx, u64 rdx); /* RAX of the reply */
u64 svsm_pvalidate(u64 entry);            /* the core protocol's PVALIDATE of one page; returns its result */

#endif
