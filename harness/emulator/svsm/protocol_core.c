/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Core protocol (AMD 58019, section 6). Where the specification allows several results, they are those of
 * COCONUT kernel/src/protocols/core.rs, with which firmware is tested.
 */
#include "alternate.h"
#include "hardware.h"
#include "protocol.h"
#include "rmp.h"
#include "sev.h"

#define CAA_ALIGNMENT 8

/* The VMPL byte, 0CA, as part of the quadword that holds it. */
#define VMSA_VMPL_QUADWORD (offsetof(struct vmsa, vmpl) & ~7ul)
#define VMSA_VMPL_SHIFT    ((offsetof(struct vmsa, vmpl) & 7) * 8)

/* Guest memory that is not a VMSA (COCONUT valid_phys_address). */
static bool valid_guest_range(struct svsm *svsm, u64 gpa, u64 size)
{
	return memory_is_guest(&svsm->memory, gpa, size) && !registry_has_vmsa(&svsm->vmsas, gpa, size);
}

static bool aligned(u64 value, u64 alignment)
{
	return (value & (alignment - 1)) == 0;
}

/* RCX: the new calling area. Only its first 8 bytes are fixed; they may not cross a page. */
static u64 remap_ca(struct vcpu *vcpu, struct svsm_request *request)
{
	u64 caa_gpa = request->rcx;

	if (!aligned(caa_gpa, CAA_ALIGNMENT) || !valid_guest_range(vcpu->svsm, caa_gpa, SVSM_CAA_HEADER_SIZE))
		return SVSM_ERR_INVALID_PARAMETER;
	if (registry_move_caa(&vcpu->svsm->vmsas, vcpu->vmsa_gpa, caa_gpa) != REGISTRY_OK)
		return SVSM_ERR_INVALID_ADDRESS;
	alternate_forget_caa(vcpu);
	if (!guest_write64(caa_gpa, 0)) {
		registry_move_caa(&vcpu->svsm->vmsas, vcpu->vmsa_gpa, vcpu->caa_gpa);
		return SVSM_ERR_INVALID_ADDRESS;
	}
	vcpu->caa_gpa = caa_gpa;
	return SVSM_SUCCESS;
}

static u64 sev_error(u32 result)
{
	return SVSM_ERR_PROTOCOL_BASE + result;
}

/* An entry of a PVALIDATE call. */
struct page_entry {
	u64 gpa;
	enum page_size size;
	bool validate;
	bool ignore_cf;
};

static u64 parse_entry(struct vcpu *vcpu, u64 entry, struct page_entry *page)
{
	*page = (struct page_entry){ .gpa = entry & SVSM_PVALIDATE_GPA_MASK, .validate = entry & SVSM_PVALIDATE_VALIDATE,
			       .ignore_cf = entry & SVSM_PVALIDATE_IGNORE_CF };
	switch (entry & SVSM_PVALIDATE_SIZE_MASK) {
	case 0:
		page->size = PAGE_4K;
		break;
	case 1:
		page->size = PAGE_2M;
		break;
	default:
		return SVSM_ERR_INVALID_PARAMETER;
	}
	if (!aligned(page->gpa, page_bytes(page->size)))
		return SVSM_ERR_INVALID_PARAMETER;
	return valid_guest_range(vcpu->svsm, page->gpa, page_bytes(page->size)) ? SVSM_SUCCESS : SVSM_ERR_INVALID_ADDRESS;
}

/*
 * As in COCONUT: a page may contain data that the hypervisor copied from elsewhere, even from the SVSM's
 * memory, so it is cleared before the guest can access it.
 */
static bool is_scrubbed(struct vcpu *vcpu, const struct page_entry *page)
{
	return page->validate && (vcpu->svsm->boot.flags & SVSM_BOOT_SCRUB) && memory_is_writable(page->gpa, page_bytes(page->size));
}

static u64 validate_scrubbed(struct vcpu *vcpu, const struct page_entry *page)
{
	u32 result = hardware_pvalidate(page->gpa, page->size, true);

	if (result == SEV_FAIL_UNCHANGED && page->ignore_cf)
		result = SEV_SUCCESS;
	if (result != SEV_SUCCESS)
		return sev_error(result);
	if (!guest_zero(page->gpa, page_bytes(page->size)))
		return SVSM_ERR_INVALID_ADDRESS;
	result = rmp_grant(page->gpa, page->size, vcpu->svsm->boot.guest_vmpl);
	return result == SEV_SUCCESS ? SVSM_SUCCESS : sev_error(result);
}

/* Of software: the entry's last one. */
#define LAST_OF_ENTRY BIT(3)
#define ENTRY_OPERATIONS (RMP_REVOKE_OPERATIONS + 1)
#define BATCH_OPERATIONS (PAGE_SIZE / sizeof(struct sev_rmp_operation))

static u32 entry_operations(struct vcpu *vcpu, const struct page_entry *page, struct sev_rmp_operation *to)
{
	u32 guest_vmpl = vcpu->svsm->boot.guest_vmpl, count = 0;

	if (!page->validate) /* while the page is still valid: its permissions survive a rescission */
		count += rmp_revoke_operations(to, page->gpa, page->size, guest_vmpl);
	count += rmp_pvalidate_operation(&to[count], page->gpa, page->size, page->validate, page->ignore_cf);
	if (page->validate)
		count += rmp_grant_operation(&to[count], page->gpa, page->size, guest_vmpl);
	to[count - 1].page |= LAST_OF_ENTRY;
	return count;
}

/*
 * The entries from `*next` to `entries`, as many as can be done together; `*next` moves behind those that are done. An
 * entry for the page of the list itself is the last one of a batch: those behind it are read after it.
 */
static u64 pvalidate_some(struct vcpu *vcpu, u64 list, u16 entries, u16 *next)
{
	static struct sev_rmp_operation operations[BATCH_OPERATIONS] __attribute__((aligned(PAGE_SIZE))); /* under core_lock */
	u64 refused = SVSM_SUCCESS;
	u32 count = 0, done, result;
	bool own_page = false;

	for (u16 at = *next; at < entries && !own_page && count + ENTRY_OPERATIONS <= BATCH_OPERATIONS; at++) {
		struct page_entry page;
		u64 entry; /* the guest's other vCPUs may change it: read once */

		refused = guest_read64(list + 8ull * at, &entry) ? parse_entry(vcpu, entry, &page) : SVSM_ERR_INVALID_ADDRESS;
		if (refused != SVSM_SUCCESS || (is_scrubbed(vcpu, &page) && count))
			break;
		if (is_scrubbed(vcpu, &page)) {
			refused = validate_scrubbed(vcpu, &page);
			*next += refused == SVSM_SUCCESS;
			return refused;
		}
		count += entry_operations(vcpu, &page, &operations[count]);
		own_page = list - page.gpa < page_bytes(page.size);
	}
	result = hardware_rmp_operations(operations, count, &done);
	for (u32 i = 0; i < done; i++)
		*next += (operations[i].page & LAST_OF_ENTRY) != 0;
	return result == SEV_SUCCESS ? refused : sev_error(result);
}

/*
 * RCX: struct svsm_pvalidate_header and its entries, within one page. `next` shows the guest how
 * far the call came, and where a repeated call continues.
 */
static u64 pvalidate(struct vcpu *vcpu, struct svsm_request *request)
{
	u64 gpa = request->rcx;
	u64 capacity = (PAGE_SIZE - (gpa & (PAGE_SIZE - 1))) / 8 - 1;
	u64 result = SVSM_SUCCESS;
	u64 header;
	u16 entries, next;

	if (!aligned(gpa, 8) || !valid_guest_range(vcpu->svsm, gpa, sizeof(struct svsm_pvalidate_header)))
		return SVSM_ERR_INVALID_PARAMETER;
	if (!guest_read64(gpa, &header))
		return SVSM_ERR_INVALID_ADDRESS;
	entries = (u16)header;
	next = (u16)(header >> 16);
	if (entries == 0 || entries > capacity || next >= entries)
		return SVSM_ERR_INVALID_PARAMETER;

	while (result == SVSM_SUCCESS && next < entries)
		result = pvalidate_some(vcpu, gpa + sizeof(struct svsm_pvalidate_header), entries, &next);
	/* An entry may have invalidated the page of the list itself. */
	if (!guest_write16(gpa + offsetof(struct svsm_pvalidate_header, next), next) && result == SVSM_SUCCESS)
		result = SVSM_ERR_INVALID_ADDRESS;
	return result;
}

/* 58019, CREATE_VCPU: what the SVSM must find in a VMSA. */
static bool vmsa_acceptable(u64 vmsa_gpa, u32 guest_vmpl, u64 guest_features)
{
	u64 vmpl, efer, features;

	if (!guest_read64(vmsa_gpa + VMSA_VMPL_QUADWORD, &vmpl) ||
	    !guest_read64(vmsa_gpa + offsetof(struct vmsa, efer), &efer) ||
	    !guest_read64(vmsa_gpa + offsetof(struct vmsa, sev_features), &features))
		return false;
	return (u8)(vmpl >> VMSA_VMPL_SHIFT) == guest_vmpl && (efer & VMSA_EFER_SVME) && features == guest_features;
}

/* RCX: VMSA page; RDX: calling area, page aligned; R8 31:0: APIC ID. */
static u64 create_vcpu(struct vcpu *vcpu, struct svsm_request *request)
{
	struct svsm *svsm = vcpu->svsm;
	u32 guest_vmpl = svsm->boot.guest_vmpl;
	u64 vmsa_gpa = request->rcx;
	u64 caa_gpa = request->rdx;
	struct vcpu *target = vcpu_by_apic_id(svsm, (u32)request->r8);
	u64 result;
	u32 rmp_result;

	if (!aligned(vmsa_gpa, PAGE_SIZE) || !valid_guest_range(svsm, vmsa_gpa, PAGE_SIZE) ||
	    !aligned(caa_gpa, PAGE_SIZE) || !valid_guest_range(svsm, caa_gpa, PAGE_SIZE) || vmsa_gpa == caa_gpa)
		return SVSM_ERR_INVALID_ADDRESS;
	/* Erratum of the first SNP processors: a VMSA must not be 2 MiB aligned (Linux snp_alloc_vmsa_page). */
	if (aligned(vmsa_gpa, PAGE_SIZE_2M))
		return SVSM_ERR_INVALID_ADDRESS;
	/* The calling vCPU's own VMSA is in use now. */
	if (!target || !__atomic_load_n(&target->online, __ATOMIC_ACQUIRE) || target == vcpu)
		return SVSM_ERR_INVALID_PARAMETER;

	switch (registry_add(&svsm->vmsas, (struct vmsa_entry){ .vmsa_gpa = vmsa_gpa,
								.caa_gpa = caa_gpa,
								.vcpu = target->index,
								.guest_owned = true })) {
	case REGISTRY_OK:
		break;
	case REGISTRY_FULL:
		return SVSM_ERR_INVALID_REQUEST;
	default:
		return SVSM_ERR_INVALID_ADDRESS;
	}

	/* The guest loses access first, then the VMSA is checked, then the page becomes a VMSA. */
	rmp_result = rmp_revoke(vmsa_gpa, PAGE_4K, guest_vmpl);
	if (rmp_result != SEV_SUCCESS) {
		registry_remove(&svsm->vmsas, vmsa_gpa);
		return sev_error(rmp_result);
	}
	if (vmsa_acceptable(vmsa_gpa, guest_vmpl, request->sev_features)) {
		rmp_result = rmp_set_vmsa(vmsa_gpa, guest_vmpl);
		result = rmp_result == SEV_SUCCESS ? SVSM_SUCCESS : sev_error(rmp_result);
	} else {
		result = SVSM_ERR_INVALID_PARAMETER;
	}
	if (result != SVSM_SUCCESS) {
		rmp_clear_vmsa(vmsa_gpa, guest_vmpl);
		registry_remove(&svsm->vmsas, vmsa_gpa);
		return result;
	}
	target->caa_gpa = caa_gpa;
	__atomic_store_n(&target->created, true, __ATOMIC_RELEASE);
	__atomic_store_n(&target->vmsa_gpa, vmsa_gpa, __ATOMIC_RELEASE);
	return SVSM_SUCCESS;
}

/* RCX: VMSA page, made by CREATE_VCPU. */
static u64 delete_vcpu(struct vcpu *vcpu, struct svsm_request *request)
{
	struct svsm *svsm = vcpu->svsm;
	u64 vmsa_gpa = request->rcx;
	struct vmsa_entry *entry = registry_find(&svsm->vmsas, vmsa_gpa);
	struct vcpu *target;
	u32 result;

	if (!entry || !entry->guest_owned)
		return SVSM_ERR_INVALID_PARAMETER;
	if (vmsa_gpa == vcpu->vmsa_gpa)
		return sev_error(SEV_FAIL_INUSE);

	/* From here on the hypervisor cannot enter it; RMPADJUST refuses while another vCPU is in it. */
	vmsa_disable(guest_vmsa(vmsa_gpa));
	result = rmp_clear_vmsa(vmsa_gpa, svsm->boot.guest_vmpl);
	if (result == SEV_FAIL_INUSE) {
		vmsa_enable(guest_vmsa(vmsa_gpa));
		return sev_error(result);
	}
	target = &vcpu_areas[entry->vcpu].vcpu;
	if (target->vmsa_gpa == vmsa_gpa) {
		__atomic_store_n(&target->vmsa_gpa, 0, __ATOMIC_RELEASE);
		target->caa_gpa = 0;
	}
	registry_remove(&svsm->vmsas, vmsa_gpa);
	return result == SEV_SUCCESS ? SVSM_SUCCESS : SVSM_ERR_INVALID_ADDRESS;
}

/* RCX in: protocol << 32 | version; out: max << 32 | min, or 0. */
static u64 query_protocol(struct vcpu *vcpu, struct svsm_request *request)
{
	u32 version = (u32)request->rcx;
	struct protocol protocol;

	if (protocol_find(vcpu, (u32)(request->rcx >> SVSM_QUERY_PROTOCOL_SHIFT), &protocol) &&
	    version >= protocol.version_min && version <= protocol.version_max)
		request->rcx = ((u64)protocol.version_max << SVSM_QUERY_MAX_SHIFT) | protocol.version_min;
	else
		request->rcx = 0;
	return SVSM_SUCCESS;
}

/* RCX bit 0: query. No virtual top of memory here. */
static u64 configure_vtom(struct svsm_request *request)
{
	if (!(request->rcx & SVSM_VTOM_QUERY))
		return SVSM_ERR_INVALID_REQUEST;
	request->rcx = 0;
	return SVSM_SUCCESS;
}

static u64 serve(struct vcpu *vcpu, struct svsm_request *request)
{
	switch (request->call) {
	case SVSM_CORE_REMAP_CA:
		return remap_ca(vcpu, request);
	case SVSM_CORE_PVALIDATE:
		return pvalidate(vcpu, request);
	case SVSM_CORE_CREATE_VCPU:
		return create_vcpu(vcpu, request);
	case SVSM_CORE_DELETE_VCPU:
		return delete_vcpu(vcpu, request);
	case SVSM_CORE_QUERY_PROTOCOL:
		return query_protocol(vcpu, request);
	case SVSM_CORE_CONFIGURE_VTOM:
		return configure_vtom(request);
	case SVSM_CORE_DEPOSIT_MEM:
	case SVSM_CORE_WITHDRAW_MEM:
		/* All memory is present from the start: none is requested (mem_available stays 0) or returned. */
		return SVSM_ERR_UNSUPPORTED_CALL;
	default:
		return SVSM_ERR_UNSUPPORTED_CALL;
	}
}

u64 protocol_core_request(struct vcpu *vcpu, struct svsm_request *request)
{
	u64 result;

	lock_take(&vcpu->svsm->core_lock);
	result = serve(vcpu, request);
	lock_release(&vcpu->svsm->core_lock);
	return result;
}
