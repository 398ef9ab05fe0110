/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ghcb_call.h"

#include "hardware.h"
#include "sev.h"
#include "x86.h"

static void vmgexit(void)
{
	asm volatile("rep; vmmcall" : : : "memory");
}

u64 ghcb_msr_call(u64 request)
{
	wrmsr(SEV_MSR_GHCB, request);
	vmgexit();
	return rdmsr(SEV_MSR_GHCB);
}

_Noreturn void ghcb_terminate(enum svsm_termination reason)
{
	for (;;)
		ghcb_msr_call(GHCB_MSR_TERM_REQ | ((u64)GHCB_TERM_SET_SVSM << GHCB_MSR_TERM_SET_SHIFT) |
			      ((u64)reason << GHCB_MSR_TERM_REASON_SHIFT));
}

u16 ghcb_negotiate(u32 *cbit)
{
	u64 response = ghcb_msr_call(GHCB_MSR_SEV_INFO_REQ);
	u16 maximum = (u16)(response >> GHCB_MSR_SEV_INFO_MAX_SHIFT);
	u16 minimum = (u16)(response >> GHCB_MSR_SEV_INFO_MIN_SHIFT);

	if ((response & GHCB_MSR_INFO_MASK) != GHCB_MSR_SEV_INFO_RESP || minimum > GHCB_VERSION_SNP ||
	    maximum < GHCB_VERSION_SNP)
		return 0;
	*cbit = (u8)(response >> GHCB_MSR_SEV_INFO_CBIT_SHIFT);
	return GHCB_VERSION_SNP;
}

u64 ghcb_hv_features(void)
{
	u64 response = ghcb_msr_call(GHCB_MSR_HV_FEATURES_REQ);

	if ((response & GHCB_MSR_INFO_MASK) != GHCB_MSR_HV_FEATURES_RESP)
		return 0;
	return response >> GHCB_MSR_DATA_SHIFT;
}

u8 *ghcb_share_page(u64 gpa)
{
	u8 *page = (u8 *)(gpa + SVSM_SHARED_OFFSET);
	u64 response;

	/* Before the page state change: a page must not become shared while it is validated. */
	if (hardware_pvalidate(gpa, PAGE_4K, false) != SEV_SUCCESS)
		return NULL;
	response = ghcb_msr_call(((u64)NAE_PSC_SHARED << GHCB_MSR_PSC_OP_SHIFT) | gpa | GHCB_MSR_PSC_REQ);
	if ((response & GHCB_MSR_INFO_MASK) != GHCB_MSR_PSC_RESP || (response >> GHCB_MSR_ERROR_SHIFT) != 0)
		return NULL;
	for (u32 offset = 0; offset < PAGE_SIZE; offset += 8)
		*(volatile a64 *)(page + offset) = 0;
	return page;
}

bool ghcb_init(struct vcpu *vcpu)
{
	u64 gpa = (u64)vcpu_areas[vcpu->index].ghcb; /* VA = GPA */

	vcpu->ghcb_gpa = gpa;
	vcpu->ghcb = ghcb_share_page(gpa);
	return vcpu->ghcb && ghcb_msr_call(gpa | GHCB_MSR_REG_GPA_REQ) == (gpa | GHCB_MSR_REG_GPA_RESP);
}

static void set_field(struct vcpu *vcpu, u32 offset, u64 value)
{
	volatile u8 *valid = vcpu->ghcb + GHCB_VALID_BITMAP + GHCB_VALID_BIT(offset) / 8;

	*(volatile a64 *)(vcpu->ghcb + offset) = value;
	*valid = (u8)(*valid | (1u << (GHCB_VALID_BIT(offset) % 8)));
}

static bool field_valid(struct vcpu *vcpu, u32 offset)
{
	volatile u8 *valid = vcpu->ghcb + GHCB_VALID_BITMAP + GHCB_VALID_BIT(offset) / 8;

	return (*valid >> (GHCB_VALID_BIT(offset) % 8)) & 1;
}

/* Does not change *value if the hypervisor has not set the field. */
static void read_field(struct vcpu *vcpu, u32 offset, u64 *value)
{
	if (field_valid(vcpu, offset))
		*value = *(volatile a64 *)(vcpu->ghcb + offset);
}

bool ghcb_call(struct vcpu *vcpu, struct nae_event *event)
{
	u64 result;

	*(volatile a64 *)(vcpu->ghcb + GHCB_VALID_BITMAP) = 0;
	*(volatile a64 *)(vcpu->ghcb + GHCB_VALID_BITMAP + 8) = 0;
	*(volatile a16 *)(vcpu->ghcb + GHCB_PROTOCOL_VERSION) = vcpu->svsm->ghcb_version;
	*(volatile a32 *)(vcpu->ghcb + GHCB_USAGE) = GHCB_USAGE_STANDARD;
	set_field(vcpu, GHCB_SW_EXITCODE, event->code);
	set_field(vcpu, GHCB_SW_EXITINFO1, event->info1);
	set_field(vcpu, GHCB_SW_EXITINFO2, event->info2);
	if (event->has_rax)
		set_field(vcpu, GHCB_RAX, event->rax);
	if (event->has_rcx)
		set_field(vcpu, GHCB_RCX, event->rcx);
	if (event->has_rdx)
		set_field(vcpu, GHCB_RDX, event->rdx);
	if (event->has_scratch)
		set_field(vcpu, GHCB_SW_SCRATCH, event->scratch);

	/* The MSR protocol leaves its answer in the MSR: set the page's address again. */
	wrmsr(SEV_MSR_GHCB, vcpu->ghcb_gpa);
	vmgexit();

	result = *(volatile a64 *)(vcpu->ghcb + GHCB_SW_EXITINFO1);
	if (event->has_rax)
		read_field(vcpu, GHCB_RAX, &event->rax);
	if (event->has_rcx)
		read_field(vcpu, GHCB_RCX, &event->rcx);
	if (event->has_rdx)
		read_field(vcpu, GHCB_RDX, &event->rdx);
	return field_valid(vcpu, GHCB_SW_EXITINFO1) && (u32)result == NAE_RESULT_OK;
}

bool ghcb_port(struct vcpu *vcpu, u16 port, u64 flags, u64 *value)
{
	struct nae_event event = {
		.code = NAE_IOIO,
		.info1 = ((u64)port << NAE_IOIO_PORT_SHIFT) | flags,
		.has_rax = true,
		.rax = *value,
	};
	bool ok = ghcb_call(vcpu, &event);

	*value = event.rax;
	return ok;
}
