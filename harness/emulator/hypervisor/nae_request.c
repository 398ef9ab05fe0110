/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SNP guest requests: NAE events 80000011 and 80000012 as KVM serves them (snp_handle_guest_req, snp_handle_ext_guest_req). */
#include "bytes.h"
#include "memory.h"
#include "nae.h"
#include "snp_message.h"

extern const u8 certificates[], certificates_end[]; /* certificates.S */

/* NULL: it is private. KVM_RUN fails if it is not memory. */
static u8 *shared_page(struct vcpu *vcpu, u64 gpa)
{
	if (!memory_region(vcpu->hv, gpa))
		hw_stop(vcpu->cpu, RECORD_END_GUEST_REQUEST, gpa, 0);
	return memory_shared(vcpu->hv, gpa, PAGE_SIZE);
}

/* The guest may change a page at any time, so a copy is used. What KVM reads of a private page the guest did not write. */
static void read_page(struct vcpu *vcpu, u64 gpa, u8 *to)
{
	const u8 *page = shared_page(vcpu, gpa);

	if (page)
		memcpy(to, page, PAGE_SIZE);
	else
		memset(to, 0, PAGE_SIZE);
}

/* And what it writes to one, the guest does not see. */
static void write_page(struct vcpu *vcpu, u64 gpa, const u8 *from)
{
	u8 *page = shared_page(vcpu, gpa);

	if (page)
		memcpy(page, from, PAGE_SIZE);
}

/* sev_es_validate_vmgexit */
static bool pages_are_sound(struct nae *nae)
{
	if (!((nae->info1 | nae->info2) & (PAGE_SIZE - 1)) && nae->info1 != nae->info2)
		return true;
	nae_refuse(nae, NAE_ERR_MISSING_INPUT);
	return false;
}

static void request(struct vcpu *vcpu, struct nae *nae)
{
	struct hypervisor *hv = vcpu->hv;

	read_page(vcpu, nae->info1, hv->guest_request);
	nae->result2 = hw_psp(hv->hw, &(struct hw_psp_command){ .code = HW_PSP_GUEST_REQUEST,
								.request = (const struct snp_message *)hv->guest_request,
								.response = (struct snp_message *)hv->guest_response });
	write_page(vcpu, nae->info2, hv->guest_response); /* after an error, too: what it had before */
}

void nae_guest_request(struct vcpu *vcpu, struct nae *nae)
{
	if (pages_are_sound(nae))
		request(vcpu, nae);
}

/* What QEMU does at KVM_EXIT_SNP_REQ_CERTS. False: the answer is set, and the security processor is not asked. */
static bool give_certificates(struct vcpu *vcpu, struct nae *nae, u64 gpa, u64 pages)
{
	u64 size = (u64)(certificates_end - certificates), needed = (size + PAGE_SIZE - 1) / PAGE_SIZE;

	if (pages < needed) {
		nae_set(nae, GHCB_RBX, needed);
		nae->result2 = NAE_REQUEST_INVALID_LENGTH;
		return false;
	}
	for (u64 i = 0; i < needed; i++) {
		u8 page[PAGE_SIZE] = { 0 };

		if (!memory_region(vcpu->hv, gpa + i * PAGE_SIZE)) {
			nae->result2 = NAE_REQUEST_ERROR;
			return false;
		}
		memcpy(page, certificates + i * PAGE_SIZE, i + 1 < needed ? PAGE_SIZE : size - i * PAGE_SIZE);
		write_page(vcpu, gpa + i * PAGE_SIZE, page);
	}
	return true;
}

void nae_extended_guest_request(struct vcpu *vcpu, struct nae *nae)
{
	u64 gpa = nae_get(nae, GHCB_RAX), pages = nae_get(nae, GHCB_RBX);

	if (!pages_are_sound(nae))
		return;
	read_page(vcpu, nae->info1, vcpu->hv->guest_request);
	if (((const struct snp_message *)vcpu->hv->guest_request)->header.type == SNP_MESSAGE_REPORT_REQUEST) {
		if (!nae_need(nae, GHCB_RAX, GHCB_RBX) || (gpa & (PAGE_SIZE - 1))) {
			nae_refuse(nae, NAE_ERR_INVALID_INPUT);
			return;
		}
		if (!give_certificates(vcpu, nae, gpa, pages))
			return;
	}
	request(vcpu, nae); /* which reads the message again, as KVM does: the certificates may be in its page now */
}
