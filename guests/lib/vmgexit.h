/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guest's side of the GHCB and of the SVSM calling area. */
#ifndef GUEST_VMGEXIT_H
#define GUEST_VMGEXIT_H

#include "ghcb.h"
#include "svsm.h"
#include "types.h"

static inline void vmgexit(void) { __asm__ volatile("rep; vmmcall" : : : "memory"); }

u64 msr_protocol(u64 request);
void ghcb_setup(void); /* GHCB_PAGE and BUFFER_PAGE shared, GHCB_PAGE registered */
void ghcb_clear(void);
void ghcb_set(u32 offset, u64 value); /* and its valid bit */
u64 ghcb_get(u32 offset);
bool ghcb_valid(u32 offset);
u64 nae(u64 code, u64 info1, u64 info2); /* SW_EXITINFO1 of the answer, its reserved half cut off */
u64 nae_raw(void);                       /* the same with what is in the page */
u64 nae_info2(void);
bool make_shared(u64 gpa);  /* page state change by MSR protocol 014 */
bool make_private(u64 gpa); /* the same, and validated: by PVALIDATE or by the SVSM */

/* A call of the SVSM by MSR protocol 016. answered: the SVSM took it, `rax` is its result. */
struct svsm_reply {
	u64 rax, rcx, rdx;
	bool answered;
};
struct svsm_reply svsm_request(u64 rax, u64 rcx, u64 rdx, u64 r8);
u64 svsm_call(u64 rax, u64 rcx, u64 rdx); /* the result, or all ones if it was not taken */

#endif
