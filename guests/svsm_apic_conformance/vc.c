/* SPDX-License-Identifier: GPL-2.0-or-later */
/* #VC (APM vol. 2, 15.35.5) of those intercepted instructions that this guest uses. */
#include "vc.h"
#include "ghcb.h"
#include "layout.h"
#include "sev.h"
#include "vmgexit.h"

#define CPUID_LENGTH  2
#define RDTSC_LENGTH  2

/* The CPUID page (publication 56860, CPUID_TABLE). */
#define CPUID_TABLE_MAX 64
struct cpuid_table {
	u32 count;
	u32 reserved[3];
	struct {
		u32 eax_in, ecx_in;
		u64 xcr0_in, xss_in;
		u32 eax, ebx, ecx, edx;
		u64 reserved;
	} entry[CPUID_TABLE_MAX];
};

/* A leaf that the page does not contain reads as zeros. A leaf without sub-leaves has ECX 0 in the page. */
static void cpuid_of_page(struct trap_frame *frame)
{
	const volatile struct cpuid_table *table = (const volatile struct cpuid_table *)CPUID_PAGE;
	u32 leaf = (u32)frame->rax, subleaf = (u32)frame->rcx;

	frame->rax = frame->rbx = frame->rcx = frame->rdx = 0;
	for (u32 i = 0; i < table->count && i < CPUID_TABLE_MAX; i++) {
		if (table->entry[i].eax_in != leaf || (table->entry[i].ecx_in != subleaf && table->entry[i].ecx_in))
			continue;
		frame->rax = table->entry[i].eax;
		frame->rbx = table->entry[i].ebx;
		frame->rcx = table->entry[i].ecx;
		frame->rdx = table->entry[i].edx;
		if (table->entry[i].ecx_in == subleaf)
			return;
	}
}

bool vc_handle(struct trap_frame *frame)
{
	if (frame->vector != SEV_VECTOR_VC)
		return false;
	switch (frame->error) {
	case NAE_CPUID:
		cpuid_of_page(frame);
		frame->rip += CPUID_LENGTH;
		return true;
	case NAE_RDTSC:
		if (nae(NAE_RDTSC, 0, 0) != NAE_RESULT_OK)
			return false;
		frame->rax = (u32)ghcb_get(GHCB_RAX);
		frame->rdx = (u32)ghcb_get(GHCB_RDX);
		frame->rip += RDTSC_LENGTH;
		return true;
	default:
		return false;
	}
}
