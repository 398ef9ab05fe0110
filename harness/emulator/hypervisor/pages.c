/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The model is KVM: memory is private by default, assigned at the first access or page state change, in 2 MiB pages if
 * possible; an access of the other kind converts the page.
 */
#include "pages.h"
#include "bytes.h"
#include "ghcb.h"
#include "memory.h"
#include "page_table.h"

static u64 start_of_2m(u64 gpa) { return gpa & ~(PAGE_SIZE_2M - 1); }

/* All 512 pages are in the same state. */
static bool uniform(struct hw_slot *region, u64 gpa) { return pages_alike(hw_slot_nested(region, start_of_2m(gpa))); }

static void log_change(struct vcpu *vcpu, u64 gpa, u32 before, enum record_rmp_op op, bool large)
{
	if (log_at(vcpu, 1))
		hw_log(vcpu->cpu, (struct record){ .kind = RECORD_RMP_CHANGE, .rip = hw_observe_pc(vcpu->cpu), .address = gpa,
						   .value = hw_observe_rmp(vcpu->hv->hw, gpa), .extra = before, .aux = op,
						   .size = large });
}

/* The RMP refuses nothing that the page states allow. */
static void rmpupdate(struct hypervisor *hv, struct hw_slot *region, u64 gpa, bool assigned, bool large)
{
	const struct hw_rmp_entry entry = { .gpa = gpa, .asid = HW_ASID, .assigned = assigned, .large = large };

	if (hw_rmpupdate(hv->hw, hw_slot_spa(region, gpa, false), &entry) != HW_RMP_OK)
		hw_fail(hv->vcpu[0].cpu, "RMPUPDATE was refused", __LINE__);
}

static void psmash(struct hypervisor *hv, struct hw_slot *region, u64 gpa)
{
	hw_psmash(hv->hw, hw_slot_spa(region, start_of_2m(gpa), false));
}

void pages_launch(struct hypervisor *hv, enum psp_page type, u64 gpa, u64 size, u8 *contents)
{
	u64 step;

	for (u64 page = gpa; page < gpa + size; page += step) {
		struct hw_slot *region = memory_region(hv, page);
		bool large = region && page == start_of_2m(page) && page + PAGE_SIZE_2M <= gpa + size && hw_slot_large_possible(region, page);

		step = large ? PAGE_SIZE_2M : PAGE_SIZE;
		if (!region || *hw_slot_nested(region, page) == HW_PRIVATE)
			continue;
		rmpupdate(hv, region, page, true, large);
		memset(hw_slot_nested(region, page), HW_PRIVATE, step / PAGE_SIZE);
	}
	if (hw_psp(hv->hw, &(struct hw_psp_command){ .code = HW_PSP_LAUNCH_UPDATE, .page = type, .gpa = gpa, .size = size,
						     .contents = contents }))
		hw_fail(hv->vcpu[0].cpu, "SNP_LAUNCH_UPDATE was refused", __LINE__);
}

void pages_all_shared(struct hypervisor *hv)
{
	for (u32 i = 0; i < hv->regions; i++)
		memset(hv->region[i].nested, HW_SHARED, hv->region[i].size / PAGE_SIZE);
}

static void changed(struct hypervisor *hv, u64 gpa, bool large)
{
	hv->generation++;
	hw_invalidate(hv->hw, gpa, large);
}

/*
 * KVM unmaps the 2 MiB page that it has mapped as one, when it changes one of its 4 KiB pages
 * (kvm_arch_pre_set_memory_attributes): the other ones come back at their next access.
 */
static void unmap_others(struct hw_slot *region, u64 gpa)
{
	u8 *states = hw_slot_nested(region, start_of_2m(gpa));

	for (u32 i = 0; i < PAGES_IN_2M; i++) {
		if (states[i] != HW_NOT_PRESENT && &states[i] != hw_slot_nested(region, gpa))
			states[i] |= HW_UNMAPPED;
	}
}

static bool mapped_as_one(struct hw_slot *region, u64 gpa)
{
	return hw_slot_large_possible(region, gpa) && uniform(region, gpa) && *hw_slot_nested(region, gpa) != HW_NOT_PRESENT;
}

static void map_again(struct hw_slot *region, u64 gpa, u32 pages)
{
	for (u32 i = 0; i < pages; i++)
		hw_slot_nested(region, gpa)[i] &= (u8)~HW_UNMAPPED;
}

#define AROUND 32u /* pages that come back with one: KVM maps them one by one, each at an #NPF of its own */

/* They were unmapped together, so the region has the whole 2 MiB page that they are of. */
static void map_again_around(const struct hypervisor *hv, struct hw_slot *region, u64 gpa)
{
	if (hv->config->shortcuts)
		map_again(region, gpa & ~(AROUND * PAGE_SIZE - 1), AROUND);
	else
		map_again(region, gpa, 1);
}

/* The pages become the guest's, not validated, without permissions. */
static void assign(struct hypervisor *hv, struct hw_slot *region, u64 gpa, bool large)
{
	u64 first = large ? start_of_2m(gpa) : gpa & ~(PAGE_SIZE - 1);
	u64 pages = large ? PAGES_IN_2M : 1;
	u8 *states = hw_slot_nested(region, first);

	for (u64 i = 0; i < pages && states[0] == HW_SHARED; i++) /* they are all alike */
		memset(memory_page(region, first + i * PAGE_SIZE), SCRAMBLED, PAGE_SIZE);
	memset(states, HW_PRIVATE, pages);
	rmpupdate(hv, region, first, true, large);
	changed(hv, first, large);
}

/* An access to a page that is not assigned yet: as large as it can be. */
static void assign_on_demand(struct hypervisor *hv, struct hw_slot *region, u64 gpa)
{
	bool large = *hw_slot_nested(region, gpa) == HW_NOT_PRESENT && hw_slot_large_possible(region, gpa) && uniform(region, gpa);

	assign(hv, region, gpa, large);
}

static bool is_large(struct hypervisor *hv, struct hw_slot *region, u64 gpa)
{
	struct hw_rmp_entry entry;

	return hw_rmpread(hv->hw, hw_slot_spa(region, gpa, false), &entry) && entry.large;
}

static void make_shared(struct hypervisor *hv, struct hw_slot *region, u64 gpa)
{
	u8 *state = hw_slot_nested(region, gpa);

	if (*state == HW_SHARED)
		return;
	if (is_large(hv, region, gpa))
		psmash(hv, region, gpa);
	rmpupdate(hv, region, gpa, false, false);
	*state = HW_SHARED;
	changed(hv, gpa, false);
}

/* What a private access needs: the page assigned, or in 4 KiB. */
static void resolve_private(struct vcpu *vcpu, struct hw_slot *region, u64 gpa, u64 info)
{
	struct hypervisor *hv = vcpu->hv;
	bool instruction = !(info & (SVM_NPF_FINAL | SVM_NPF_TABLE_WALK)); /* PVALIDATE or RMPADJUST */

	if (info & SVM_NPF_VMPL) /* nothing that a hypervisor could change */
		hw_stop(vcpu->cpu, RECORD_END_VMPL, gpa, hw_observe_rmp(hv->hw, gpa));
	if (info & SVM_NPF_SIZEM) {
		psmash(hv, region, gpa);
		return;
	}
	if (*hw_slot_nested(region, gpa) == HW_PRIVATE)
		hw_fail(vcpu->cpu, "an #NPF cannot be resolved", __LINE__);
	if (*hw_slot_nested(region, gpa) == HW_SHARED)
		hw_log(vcpu->cpu, (struct record){ .kind = RECORD_RMP_VIOLATION, .rip = hw_observe_pc(vcpu->cpu),
						   .address = gpa | BIT(hv->config->cbit), .value = info & ~SVM_NPF_SNP,
						   .extra = hw_observe_rmp(hv->hw, gpa),
						   .aux = instruction ? RECORD_VIOLATION_PVALIDATE : RECORD_VIOLATION_SHARED });
	assign_on_demand(hv, region, gpa);
}

bool pages_fault(struct vcpu *vcpu, struct hw_exit *exit)
{
	u64 gpa = exit->info2;
	struct hw_slot *region = memory_region(vcpu->hv, gpa);
	u32 before;

	if (!region)
		return false;
	if (*hw_slot_nested(region, gpa) & HW_UNMAPPED) {
		map_again_around(vcpu->hv, region, gpa);
	} else if (exit->info1 & SVM_NPF_ENC) {
		resolve_private(vcpu, region, gpa, exit->info1);
	} else {
		before = hw_observe_rmp(vcpu->hv->hw, gpa);
		make_shared(vcpu->hv, region, gpa & ~(PAGE_SIZE - 1));
		log_change(vcpu, gpa, before, RECORD_RMP_IMPLICIT, false);
	}
	hw_retry(vcpu->cpu, exit);
	return true;
}

static void change_page(struct hypervisor *hv, struct hw_slot *region, u64 gpa, u32 operation)
{
	if (operation == NAE_PSC_SHARED)
		make_shared(hv, region, gpa);
	else if (*hw_slot_nested(region, gpa) != HW_PRIVATE)
		assign(hv, region, gpa, false);
}

bool pages_change(struct vcpu *vcpu, u64 gpa, u32 operation, bool large)
{
	struct hypervisor *hv = vcpu->hv;
	struct hw_slot *region = memory_region(hv, gpa);
	bool as_one;
	u32 before;

	if (!region || (gpa & ((large ? PAGE_SIZE_2M : PAGE_SIZE) - 1)))
		return false;
	if (large && gpa + PAGE_SIZE_2M > region->gpa + region->size)
		return false;
	before = hw_observe_rmp(hv->hw, gpa);
	map_again(region, gpa, large ? PAGES_IN_2M : 1);
	as_one = !large && mapped_as_one(region, gpa);
	switch (operation) {
	case NAE_PSC_PRIVATE:
	case NAE_PSC_SHARED:
		if (operation == NAE_PSC_PRIVATE && large && hw_slot_large_possible(region, gpa) && uniform(region, gpa) &&
		    *hw_slot_nested(region, gpa) != HW_PRIVATE) {
			assign(hv, region, gpa, true);
			break;
		}
		for (u32 i = 0; i < (large ? PAGES_IN_2M : 1); i++)
			change_page(hv, region, gpa + i * PAGE_SIZE, operation);
		break;
	case NAE_PSC_PSMASH:
		if (!large || !hw_slot_large_possible(region, gpa))
			return false;
		psmash(hv, region, gpa);
		break;
	case NAE_PSC_UNSMASH: /* a hint: the hypervisor may ignore it */
		break;
	default:
		return false;
	}
	if (as_one && !uniform(region, gpa))
		unmap_others(region, gpa);
	log_change(vcpu, gpa, before, operation == NAE_PSC_SHARED ? RECORD_RMP_PSC_SHARED : RECORD_RMP_PSC_PRIVATE, large);
	return true;
}
