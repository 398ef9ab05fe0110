/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmgexit.h"
#include "cpu.h"
#include "start.h"

#define RESULT_MASK 0xFFFFFFFFull

static volatile u8 *at(u64 page, u32 offset) { return (volatile u8 *)page + offset; }

u64 msr_protocol(u64 request)
{
	wrmsr(SEV_MSR_GHCB, request);
	vmgexit();
	return rdmsr(SEV_MSR_GHCB);
}

void ghcb_page_set(u64 page, u32 offset, u64 value)
{
	u32 bit = GHCB_VALID_BIT(offset);

	*(volatile a64 *)at(page, offset) = value;
	*at(page, GHCB_VALID_BITMAP + bit / 8) |= (u8)(1 << bit % 8);
}

u64 ghcb_page_get(u64 page, u32 offset) { return *(volatile a64 *)at(page, offset); }

static u64 request(u64 page)
{
	wrmsr(SEV_MSR_GHCB, page);
	vmgexit();
	return ghcb_page_get(page, GHCB_SW_EXITINFO1) & RESULT_MASK;
}

u64 ghcb_page_nae(u64 page, u64 code, u64 info1, u64 info2)
{
	ghcb_page_set(page, GHCB_SW_EXITCODE, code);
	ghcb_page_set(page, GHCB_SW_EXITINFO1, info1);
	ghcb_page_set(page, GHCB_SW_EXITINFO2, info2);
	return request(page);
}

void ghcb_clear(void)
{
	for (u32 i = 0; i < PAGE_SIZE; i += 8)
		*(volatile a64 *)at(GHCB_PAGE, i) = 0;
	*(volatile a16 *)at(GHCB_PAGE, GHCB_PROTOCOL_VERSION) = GHCB_VERSION_SNP;
}

void ghcb_set(u32 offset, u64 value) { ghcb_page_set(GHCB_PAGE, offset, value); }
u64 ghcb_get(u32 offset) { return ghcb_page_get(GHCB_PAGE, offset); }

bool ghcb_valid(u32 offset)
{
	u32 bit = GHCB_VALID_BIT(offset);

	return *at(GHCB_PAGE, GHCB_VALID_BITMAP + bit / 8) & (1 << bit % 8);
}

u64 nae(u64 code, u64 info1, u64 info2) { return ghcb_page_nae(GHCB_PAGE, code, info1, info2); }
u64 nae_raw(void) { return request(GHCB_PAGE); }
u64 nae_info2(void) { return ghcb_get(GHCB_SW_EXITINFO2); }

static bool page_state_change(u64 gpa, u64 operation)
{
	return msr_protocol(operation << GHCB_MSR_PSC_OP_SHIFT | gpa | GHCB_MSR_PSC_REQ) == GHCB_MSR_PSC_RESP;
}

bool make_shared(u64 gpa) { return page_state_change(gpa, NAE_PSC_SHARED); }

struct svsm_reply svsm_request(u64 rax, u64 rcx, u64 rdx, u64 r8)
{
	volatile u8 *pending = calling_area() + SVSM_CAA_CALL_PENDING;
	register u64 r8_register __asm__("r8") = r8;

	*pending = 1;
	wrmsr(SEV_MSR_GHCB, GHCB_MSR_RUN_VMPL_REQ /* VMPL0 */);
	__asm__ volatile("rep; vmmcall" : "+a"(rax), "+c"(rcx), "+d"(rdx), "+r"(r8_register) : : "memory");
	return (struct svsm_reply){ .rax = *pending ? SVSM_NOT_ANSWERED : rax, .rcx = rcx, .rdx = rdx };
}

u64 svsm_call(u64 rax, u64 rcx, u64 rdx) { return svsm_request(rax, rcx, rdx, 0).rax; }

u64 svsm_pvalidate(u64 entry)
{
	struct { struct svsm_pvalidate_header header; u64 entry; } *list = (void *)(calling_area() + SVSM_CALL_BUFFER);

	list->header = (struct svsm_pvalidate_header){ .entries = 1 };
	list->entry = entry;
	return svsm_call(SVSM_CALL(SVSM_PROTOCOL_CORE, SVSM_CORE_PVALIDATE), (u64)list, 0);
}

bool make_private(u64 gpa)
{
	bool carry;

	if (!page_state_change(gpa, NAE_PSC_PRIVATE))
		return false;
	if (has_svsm())
		return svsm_pvalidate(gpa | SVSM_PVALIDATE_VALIDATE) == SVSM_SUCCESS;
	return pvalidate(gpa, SEV_PAGE_4K, 1, &carry) == SEV_SUCCESS && !carry;
}

void ghcb_setup(void)
{
	make_shared(GHCB_PAGE);
	make_shared(BUFFER_PAGE);
	map_page(GHCB_PAGE, GHCB_PAGE, false);
	map_page(BUFFER_PAGE, BUFFER_PAGE, false);
	msr_protocol(GHCB_PAGE | GHCB_MSR_REG_GPA_REQ);
	ghcb_clear();
}
