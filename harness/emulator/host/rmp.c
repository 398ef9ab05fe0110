/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The Reverse Map Table: who owns each page of guest memory, and what each VMPL may do with it
 * (APM vol. 2, 15.36.3-15.36.10). One 32-bit entry a 4 KiB page.
 *
 * The hypervisor's side is KVM's: memory is private by default, assigned at the first access or
 * page state change, in 2 MiB pages where it can be; an access of the other kind converts the page.
 */
#include "cpu.h"
#include "host.h"
#include "ghcb.h"
#include "layout.h"

#define RMP_ASSIGNED  0x01u /* RMPUPDATE has given it to the guest */
#define RMP_VALIDATED 0x02u
#define RMP_LARGE     0x04u /* part of a 2 MiB entry */
#define RMP_VMSA      0x08u
#define RMP_SHARED    0x10u /* the hypervisor's: no entry in the real table. 0: private, not assigned yet */
#define RMP_PERMISSIONS(vmpl) (8 * (vmpl)) /* shift; VMPL1-3 only, VMPL0 may do everything */

#define PAGES_IN_2M 512
#define SCRAMBLED 0xA5 /* what changes hands does not keep its content */

static u32 *rmp_entry(struct host *host, u64 gpa)
{
	struct region *region = memory_region(host, gpa);

	return region ? &region->rmp[(gpa - region->gpa) / PAGE_SIZE] : NULL;
}

static u64 host_address(struct region *region, u64 gpa, bool shared)
{
	return (shared ? region->shared_hpa : region->hpa) + (gpa - region->gpa);
}

bool rmp_is_shared(struct host *host, u64 gpa)
{
	const u32 *entry = rmp_entry(host, gpa);

	return entry && (*entry & RMP_SHARED);
}

bool rmp_is_vmsa(struct host *host, u64 gpa)
{
	const u32 *entry = rmp_entry(host, gpa);

	return entry && (*entry & (RMP_VMSA | RMP_VALIDATED)) == (RMP_VMSA | RMP_VALIDATED);
}

/* The 2 MiB page around `gpa` is all in one region. */
static bool large_possible(struct region *region, u64 gpa)
{
	u64 start = gpa & ~(PAGE_SIZE_2M - 1);

	return start >= region->gpa && start + PAGE_SIZE_2M <= region->gpa + region->size &&
	       !((region->hpa + (start - region->gpa)) & (PAGE_SIZE_2M - 1));
}

static u32 *large_entries(struct region *region, u64 gpa)
{
	return &region->rmp[((gpa & ~(PAGE_SIZE_2M - 1)) - region->gpa) / PAGE_SIZE];
}

/* All 512 entries are the same, the size bit aside. */
static bool uniform(struct region *region, u64 gpa)
{
	const u32 *entries = large_entries(region, gpa);

	for (u32 i = 1; i < PAGES_IN_2M; i++) {
		if ((entries[i] ^ entries[0]) & ~RMP_LARGE)
			return false;
	}
	return true;
}

static void psmash(struct region *region, u64 gpa)
{
	u32 *entries = large_entries(region, gpa);

	for (u32 i = 0; i < PAGES_IN_2M; i++)
		entries[i] &= ~RMP_LARGE;
}

static void change(struct vcpu *vcpu, u64 gpa, u32 before, u32 after, enum record_rmp_op op, bool large, u32 result)
{
	if (!log_at(vcpu, 1))
		return;
	log_write(vcpu, (struct record){ .kind = RECORD_RMP_CHANGE, .rip = guest_pc(vcpu), .address = gpa, .value = after,
					 .extra = before, .aux = op, .size = large, .outcome = result ? RECORD_ERROR : RECORD_OK });
}

void rmp_violation(struct vcpu *vcpu, u64 gpa, u32 entry, u64 info, enum record_violation what)
{
	log_write(vcpu, (struct record){ .kind = RECORD_RMP_VIOLATION, .rip = guest_pc(vcpu), .address = gpa, .value = info,
					 .extra = entry, .aux = what });
}

void rmp_launch(struct host *host, u64 gpa, u64 size)
{
	for (u64 page = gpa; page < gpa + size; page += PAGE_SIZE) {
		struct region *region = memory_region(host, page);
		u64 start = page & ~(PAGE_SIZE_2M - 1);

		if (!region)
			continue;
		region->rmp[(page - region->gpa) / PAGE_SIZE] = RMP_ASSIGNED | RMP_VALIDATED;
		if (large_possible(region, page) && start >= gpa && start + PAGE_SIZE_2M <= gpa + size)
			region->rmp[(page - region->gpa) / PAGE_SIZE] |= RMP_LARGE;
	}
}

void rmp_set_shared(struct host *host, u64 gpa, u64 size)
{
	for (u64 page = gpa; page < gpa + size; page += PAGE_SIZE)
		*rmp_entry(host, page) = RMP_SHARED;
}

/* RMPUPDATE: the page becomes the guest's, not validated, without permissions. */
static void assign(struct vcpu *vcpu, struct region *region, u64 gpa, bool large)
{
	u32 *entry = &region->rmp[(gpa - region->gpa) / PAGE_SIZE];
	u32 pages = 1;

	if (large) {
		entry = large_entries(region, gpa);
		gpa &= ~(PAGE_SIZE_2M - 1);
		pages = PAGES_IN_2M;
	}
	for (u32 i = 0; i < pages; i++) {
		if (entry[i] & RMP_SHARED)
			memset((void *)(PHYSICAL_WINDOW + host_address(region, gpa + i * PAGE_SIZE, false)), SCRAMBLED, PAGE_SIZE);
		entry[i] = RMP_ASSIGNED | (large ? RMP_LARGE : 0);
	}
	npt_unmap(vcpu->host, gpa, large);
}

/* An access to a page nobody has assigned yet: as large as it can be. */
static void assign_on_demand(struct vcpu *vcpu, struct region *region, u64 gpa)
{
	bool large = large_possible(region, gpa) && !region->rmp[(gpa - region->gpa) / PAGE_SIZE] && uniform(region, gpa);

	assign(vcpu, region, gpa, large);
}

static void make_shared(struct vcpu *vcpu, struct region *region, u64 gpa)
{
	u32 *entry = &region->rmp[(gpa - region->gpa) / PAGE_SIZE];

	if (*entry & RMP_SHARED)
		return;
	if (*entry & RMP_LARGE)
		psmash(region, gpa);
	if ((*entry & RMP_VALIDATED) && region->hpa == region->shared_hpa)
		memset((void *)(PHYSICAL_WINDOW + host_address(region, gpa, true)), SCRAMBLED, PAGE_SIZE);
	*entry = RMP_SHARED;
	npt_unmap(vcpu->host, gpa, false);
}

static u32 permissions(u32 entry, u32 vmpl)
{
	return vmpl ? (entry >> RMP_PERMISSIONS(vmpl)) & 0xFF : SEV_PERM_ALL;
}

static u64 permission_bits(u32 allowed)
{
	u64 bits = NPT_PRESENT | NPT_USER | NPT_ACCESSED_DIRTY;

	if (allowed & SEV_PERM_WRITE)
		bits |= NPT_WRITE;
	if (!(allowed & (SEV_PERM_EXECUTE_USER | SEV_PERM_EXECUTE_SUPERVISOR)))
		bits |= NPT_NX;
	return bits;
}

static bool access_allowed(u32 allowed, u64 info)
{
	if (!(allowed & SEV_PERM_READ))
		return false;
	if ((info & SVM_NPF_WRITE) && !(allowed & SEV_PERM_WRITE))
		return false;
	return !(info & SVM_NPF_FETCH) || (allowed & (SEV_PERM_EXECUTE_USER | SEV_PERM_EXECUTE_SUPERVISOR));
}

static void map(struct vcpu *vcpu, struct region *region, u64 gpa, bool shared, u64 bits)
{
	bool large = large_possible(region, gpa) && uniform(region, gpa);
	u64 page = gpa & ~((large ? PAGE_SIZE_2M : PAGE_SIZE) - 1);

	npt_map(vcpu->host, vcpu->vmpl, !shared, page, host_address(region, page, shared), large, bits);
}

static void private_fault(struct vcpu *vcpu, struct region *region, u64 gpa, u64 info)
{
	u32 *entry = &region->rmp[(gpa - region->gpa) / PAGE_SIZE];
	u32 allowed;

	if (!(*entry & RMP_ASSIGNED)) {
		if (*entry & RMP_SHARED)
			rmp_violation(vcpu, gpa | vcpu->host->c_bit, *entry, info, RECORD_VIOLATION_SHARED);
		assign_on_demand(vcpu, region, gpa);
	}
	if (!(*entry & RMP_VALIDATED)) {
		rmp_violation(vcpu, gpa | vcpu->host->c_bit, *entry, info, RECORD_VIOLATION_NOT_VALIDATED);
		if (vcpu->host->config->strict) {
			event_vc(vcpu, SVM_EXIT_NOT_VALIDATED);
			return;
		}
		/* Let through, not validated: a later PVALIDATE shall find it as it was. */
		npt_map(vcpu->host, vcpu->vmpl, true, gpa & ~(PAGE_SIZE - 1), host_address(region, gpa & ~(PAGE_SIZE - 1), false),
			false, NPT_RWX);
		return;
	}
	allowed = permissions(*entry, vcpu->vmpl);
	if (!access_allowed(allowed, info)) {
		/* On hardware the hypervisor gets an #NPF it can do nothing about. */
		rmp_violation(vcpu, gpa | vcpu->host->c_bit, *entry, info, RECORD_VIOLATION_VMPL);
		if (vcpu->host->config->strict)
			host_stop(vcpu, RECORD_END_VMPL, gpa, *entry);
		allowed = SEV_PERM_ALL;
	}
	map(vcpu, region, gpa, false, permission_bits(allowed));
}

static void shared_fault(struct vcpu *vcpu, struct region *region, u64 gpa, u64 info)
{
	u32 *entry = &region->rmp[(gpa - region->gpa) / PAGE_SIZE];
	u32 before = *entry;

	if (*entry & RMP_SHARED) {
		map(vcpu, region, gpa, true, NPT_RWX);
		return;
	}
	/* Page-table walks are private whatever the C-bit says (APM vol. 2, 15.34.5); TCG's nested walk does not know. */
	if ((info & SVM_NPF_TABLE_WALK) && (*entry & RMP_VALIDATED)) {
		npt_map(vcpu->host, vcpu->vmpl, false, gpa & ~(PAGE_SIZE - 1), host_address(region, gpa & ~(PAGE_SIZE - 1), false),
			false, NPT_RWX);
		return;
	}
	/* So are instruction fetches; a write to the page is an access of its own. */
	if ((info & SVM_NPF_FETCH) && (*entry & RMP_VALIDATED) && access_allowed(permissions(*entry, vcpu->vmpl), info)) {
		npt_map(vcpu->host, vcpu->vmpl, false, gpa & ~(PAGE_SIZE - 1), host_address(region, gpa & ~(PAGE_SIZE - 1), false),
			false, NPT_RWX & ~NPT_WRITE);
		return;
	}
	if (*entry & RMP_VALIDATED)
		rmp_violation(vcpu, gpa, before, info, RECORD_VIOLATION_PRIVATE);
	make_shared(vcpu, region, gpa & ~(PAGE_SIZE - 1));
	change(vcpu, gpa, before, *entry, RECORD_RMP_IMPLICIT, false, 0);
	map(vcpu, region, gpa, true, NPT_RWX);
}

bool rmp_fault(struct vcpu *vcpu)
{
	struct host *host = vcpu->host;
	struct vmcb *page = vmcb(vcpu);
	u64 info = page->control.exit_info1;
	u64 gpa = page->control.exit_info2 & ~host->c_bit;
	struct region *region;

	/* The guest has turned paging on or off since the last #NPF. */
	if (page->control.nested_cr3 != npt_root(vcpu)) {
		page->control.nested_cr3 = npt_root(vcpu);
		return true;
	}
	region = memory_region(host, gpa);
	if (!region)
		return false;
	if ((page->control.exit_info2 & host->c_bit) || (host->sev && npt_root(vcpu) == (u64)host->npt[vcpu->vmpl].unpaged))
		private_fault(vcpu, region, gpa, info);
	else
		shared_fault(vcpu, region, gpa, info);
	return true;
}

static bool bad_alignment(u64 gpa, bool large) { return gpa & ((large ? PAGE_SIZE_2M : PAGE_SIZE) - 1); }

/* Size check that PVALIDATE and RMPADJUST share: a 4 KiB operation on a 2 MiB entry makes the hypervisor PSMASH it. */
static bool size_mismatch(struct region *region, u64 gpa, bool large)
{
	u32 entry = region->rmp[(gpa - region->gpa) / PAGE_SIZE];

	if (large && !(entry & RMP_LARGE))
		return true;
	if (!large && (entry & RMP_LARGE))
		psmash(region, gpa);
	return false;
}

/* PVALIDATE (APM vol. 3): result in EAX, `unchanged` is the carry flag. */
u32 rmp_pvalidate(struct vcpu *vcpu, u64 gpa, bool large, bool validate, bool *unchanged)
{
	struct host *host = vcpu->host;
	struct region *region = memory_region(host, gpa);
	u32 *entry, before, pages = large ? PAGES_IN_2M : 1;

	*unchanged = true;
	if (vcpu->vmpl)
		return SEV_FAIL_PERMISSION;
	if (!region || bad_alignment(gpa, large) || (large && !large_possible(region, gpa)))
		return SEV_FAIL_INPUT;
	entry = &region->rmp[(gpa - region->gpa) / PAGE_SIZE];
	before = *entry;
	if (large && !(*entry & RMP_LARGE) && (*entry || !uniform(region, gpa)))
		return SEV_FAIL_SIZEMISMATCH; /* before anything is assigned: there are 4 KiB pages in it */
	if (!(*entry & RMP_ASSIGNED)) {
		if (*entry & RMP_SHARED)
			rmp_violation(vcpu, gpa | host->c_bit, *entry, 0, RECORD_VIOLATION_PVALIDATE);
		assign_on_demand(vcpu, region, gpa);
	}
	if (size_mismatch(region, gpa, large)) {
		change(vcpu, gpa, before, *entry, validate ? RECORD_RMP_PVALIDATE : RECORD_RMP_RESCIND, large, SEV_FAIL_SIZEMISMATCH);
		return SEV_FAIL_SIZEMISMATCH;
	}
	for (u32 i = 0; i < pages; i++) {
		u32 after = validate ? entry[i] | RMP_VALIDATED : entry[i] & ~RMP_VALIDATED;

		if (after != entry[i])
			*unchanged = false;
		entry[i] = after;
	}
	if (!*unchanged)
		npt_unmap(host, gpa, large);
	change(vcpu, gpa, before, *entry, validate ? RECORD_RMP_PVALIDATE : RECORD_RMP_RESCIND, large, 0);
	return SEV_SUCCESS;
}

/* RMPADJUST (APM vol. 3): attributes are RDX. */
u32 rmp_adjust(struct vcpu *vcpu, u64 gpa, bool large, u64 attributes)
{
	u32 target = attributes & SEV_RMPADJUST_VMPL_MASK;
	u32 allowed = (attributes >> SEV_RMPADJUST_PERM_SHIFT) & 0xFF;
	bool vmsa = attributes & SEV_RMPADJUST_VMSA;
	struct region *region = memory_region(vcpu->host, gpa);
	u32 *entry, before, pages = large ? PAGES_IN_2M : 1;

	if (target >= CONFIG_VMPLS || !region || bad_alignment(gpa, large) || (vmsa && large))
		return SEV_FAIL_INPUT;
	if (target <= vcpu->vmpl)
		return SEV_FAIL_PERMISSION;
	entry = &region->rmp[(gpa - region->gpa) / PAGE_SIZE];
	before = *entry;
	if (!(*entry & RMP_VALIDATED)) {
		rmp_violation(vcpu, gpa | vcpu->host->c_bit, *entry, 0, RECORD_VIOLATION_NOT_VALIDATED);
		return SEV_FAIL_INPUT;
	}
	if (vcpu->vmpl && ((allowed & ~permissions(*entry, vcpu->vmpl)) || vmsa))
		return SEV_FAIL_PERMISSION;
	if (size_mismatch(region, gpa, large)) {
		change(vcpu, gpa, before, *entry, RECORD_RMP_RMPADJUST, large, SEV_FAIL_SIZEMISMATCH);
		return SEV_FAIL_SIZEMISMATCH;
	}
	for (u32 i = 0; i < pages; i++) {
		entry[i] &= ~(0xFFu << RMP_PERMISSIONS(target));
		entry[i] |= allowed << RMP_PERMISSIONS(target);
		if (!vcpu->vmpl)
			entry[i] = vmsa ? entry[i] | RMP_VMSA : entry[i] & ~RMP_VMSA;
	}
	npt_unmap(vcpu->host, gpa, large);
	change(vcpu, gpa, before, *entry, RECORD_RMP_RMPADJUST, large, 0);
	return SEV_SUCCESS;
}

static void page_state_change_page(struct vcpu *vcpu, struct region *region, u64 gpa, u32 operation)
{
	if (operation == NAE_PSC_SHARED)
		make_shared(vcpu, region, gpa);
	else if (!(region->rmp[(gpa - region->gpa) / PAGE_SIZE] & RMP_ASSIGNED))
		assign(vcpu, region, gpa, false);
}

/* Page state change by MSR protocol 014 or NAE 80000010: false when the hypervisor refuses. */
bool rmp_page_state_change(struct vcpu *vcpu, u64 gpa, u32 operation, bool large)
{
	struct region *region = memory_region(vcpu->host, gpa);
	u32 before, *entry;

	if (!region || bad_alignment(gpa, large))
		return false;
	if (large && gpa + PAGE_SIZE_2M > region->gpa + region->size)
		return false;
	entry = &region->rmp[(gpa - region->gpa) / PAGE_SIZE];
	before = *entry;
	switch (operation) {
	case NAE_PSC_PRIVATE:
	case NAE_PSC_SHARED:
		if (operation == NAE_PSC_PRIVATE && large && large_possible(region, gpa) && uniform(region, gpa) &&
		    !(*entry & RMP_ASSIGNED)) {
			assign(vcpu, region, gpa, true);
			break;
		}
		for (u32 i = 0; i < (large ? PAGES_IN_2M : 1u); i++)
			page_state_change_page(vcpu, region, gpa + i * PAGE_SIZE, operation);
		break;
	case NAE_PSC_PSMASH:
		if (!large || !large_possible(region, gpa))
			return false;
		psmash(region, gpa);
		break;
	case NAE_PSC_UNSMASH: /* a hint: the hypervisor may leave it */
		break;
	default:
		return false;
	}
	change(vcpu, gpa, before, *entry, operation == NAE_PSC_SHARED ? RECORD_RMP_PSC_SHARED : RECORD_RMP_PSC_PRIVATE, large, 0);
	return true;
}
