/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guest's side of the GHCB and of the SVSM calling area. */
#include "guest.h"
#include "svsm.h"

#define RESULT_MASK 0xFFFFFFFFull

static volatile u8 *const ghcb = (volatile u8 *)GHCB_PAGE;

static void vmgexit(void) { __asm__ volatile("rep; vmmcall" : : : "memory"); }

u64 msr_protocol(u64 request)
{
	wrmsr(SEV_MSR_GHCB, request);
	vmgexit();
	return rdmsr(SEV_MSR_GHCB);
}

void ghcb_clear(void)
{
	for (u32 i = 0; i < PAGE_SIZE; i += 8)
		*(volatile a64 *)(ghcb + i) = 0;
	*(volatile a16 *)(ghcb + GHCB_PROTOCOL_VERSION) = GHCB_VERSION_SNP;
}

void ghcb_set(u32 offset, u64 value)
{
	u32 bit = GHCB_VALID_BIT(offset);

	*(volatile a64 *)(ghcb + offset) = value;
	ghcb[GHCB_VALID_BITMAP + bit / 8] |= (u8)(1 << bit % 8);
}

u64 ghcb_get(u32 offset) { return *(volatile a64 *)(ghcb + offset); }

bool ghcb_valid(u32 offset)
{
	u32 bit = GHCB_VALID_BIT(offset);

	return ghcb[GHCB_VALID_BITMAP + bit / 8] & (1 << bit % 8);
}

u64 nae_raw(void)
{
	wrmsr(SEV_MSR_GHCB, GHCB_PAGE);
	vmgexit();
	return ghcb_get(GHCB_SW_EXITINFO1) & RESULT_MASK;
}

u64 nae(u64 code, u64 info1, u64 info2)
{
	ghcb_set(GHCB_SW_EXITCODE, code);
	ghcb_set(GHCB_SW_EXITINFO1, info1);
	ghcb_set(GHCB_SW_EXITINFO2, info2);
	return nae_raw();
}

u64 nae_info2(void) { return ghcb_get(GHCB_SW_EXITINFO2); }

static bool page_state_change(u64 gpa, u64 operation)
{
	return msr_protocol(operation << GHCB_MSR_PSC_OP_SHIFT | gpa | GHCB_MSR_PSC_REQ) == GHCB_MSR_PSC_RESP;
}

bool make_shared(u64 gpa) { return page_state_change(gpa, NAE_PSC_SHARED); }

u64 svsm_call(u64 rax, u64 rcx, u64 rdx)
{
	volatile u8 *pending = (volatile u8 *)CAA_PAGE;

	*pending = 1;
	wrmsr(SEV_MSR_GHCB, GHCB_MSR_RUN_VMPL_REQ);
	__asm__ volatile("rep; vmmcall" : "+a"(rax), "+c"(rcx), "+d"(rdx) : : "r8", "memory");
	return *pending ? ~0ull : rax;
}

bool make_private(u64 gpa)
{
	struct { u16 entries, next; u32 reserved; u64 entry; } *list = (void *)(CAA_PAGE + 0x800);
	bool carry;

	if (!page_state_change(gpa, NAE_PSC_PRIVATE))
		return false;
	if (parameters->mode == VMPL0)
		return pvalidate(gpa, SEV_PAGE_4K, 1, &carry) == SEV_SUCCESS && !carry;
	list->entries = 1;
	list->next = 0;
	list->reserved = 0;
	list->entry = gpa | 4; /* 4 KiB, validate, fail if unchanged */
	return svsm_call(1, (u64)list, 0) == 0; /* core protocol, PVALIDATE */
}
