/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "rmp.h"
#include "sev.h"

static bool is_aligned(u64 address, bool large) { return !(address & ((large ? PAGE_SIZE_2M : PAGE_SIZE) - 1)); }
static u32 pages_of(bool large) { return large ? PAGES_IN_2M : 1; }

bool rmp_cover(struct rmp *rmp, u64 spa, u64 size, struct rmp_entry *entries)
{
	if (rmp->segments == RMP_SEGMENTS)
		return false;
	rmp->segment[rmp->segments++] = (struct rmp_segment){ .spa = spa, .size = size, .entries = entries };
	return true;
}

static const struct rmp_segment *segment_of(const struct rmp *rmp, u64 spa)
{
	for (u32 i = 0; i < rmp->segments; i++) {
		const struct rmp_segment *segment = &rmp->segment[i];

		if (spa - segment->spa < segment->size)
			return segment;
	}
	return NULL;
}

struct rmp_entry *rmp_entry(const struct rmp *rmp, u64 spa)
{
	const struct rmp_segment *segment = segment_of(rmp, spa);

	return segment ? &segment->entries[(spa - segment->spa) / PAGE_SIZE] : NULL;
}

bool rmp_large_possible(const struct rmp *rmp, u64 spa)
{
	const struct rmp_segment *segment = segment_of(rmp, spa);
	u64 start = spa & ~(PAGE_SIZE_2M - 1);

	return segment && start >= segment->spa && start + PAGE_SIZE_2M <= segment->spa + segment->size;
}

bool rmp_uniform(const struct rmp *rmp, u64 spa)
{
	const struct rmp_entry *entries = rmp_entry(rmp, spa & ~(PAGE_SIZE_2M - 1));
	u32 bits = entries[0].bits & ~RMP_LARGE, owner = entries[0].owner;
	u32 step = bits & RMP_ASSIGNED ? RMP_NEXT_PAGE : 0;

	for (u32 i = 1; i < PAGES_IN_2M; i++) {
		owner += step;
		if ((entries[i].bits & ~RMP_LARGE) != bits || entries[i].owner != owner)
			return false;
	}
	return true;
}

bool rmp_is_vmsa(const struct rmp *rmp, u64 spa)
{
	const struct rmp_entry *entry = rmp_entry(rmp, spa);

	return entry && (entry->bits & (RMP_VMSA | RMP_VALIDATED)) == (RMP_VMSA | RMP_VALIDATED);
}

u32 rmp_permissions(u32 bits, u32 vmpl)
{
	return vmpl ? (bits >> RMP_PERMISSIONS(vmpl)) & 0xFF : SEV_PERM_ALL;
}

bool rmp_allows(u32 allowed, u32 cpl, u64 info)
{
	if (!(allowed & SEV_PERM_READ))
		return false;
	if ((info & SVM_NPF_WRITE) && !(allowed & SEV_PERM_WRITE))
		return false;
	return !(info & SVM_NPF_FETCH) || (allowed & (cpl == 3 ? SEV_PERM_EXECUTE_USER : SEV_PERM_EXECUTE_SUPERVISOR));
}

/* A page is either part of a 2 MiB entry or has one of its own: an assignment must not mix them. */
static bool overlaps(const struct rmp *rmp, u64 spa, bool large)
{
	const struct rmp_entry *entry = rmp_entry(rmp, spa);

	if (!large)
		return entry->bits & RMP_LARGE;
	for (u32 i = 0; i < PAGES_IN_2M; i++) {
		if ((entry[i].bits & (RMP_ASSIGNED | RMP_LARGE)) == RMP_ASSIGNED)
			return true;
	}
	return false;
}

enum hw_rmp_result rmp_update(struct rmp *rmp, u64 spa, const struct hw_rmp_entry *entry)
{
	struct rmp_entry *at = rmp_entry(rmp, spa);
	struct rmp_entry fresh = { 0 };

	if (!at || !is_aligned(spa, entry->large) || (entry->large && !rmp_large_possible(rmp, spa)))
		return HW_RMP_INPUT;
	if (entry->assigned && (!is_aligned(entry->gpa, entry->large) || entry->asid >= RMP_NEXT_PAGE))
		return HW_RMP_INPUT;
	if (overlaps(rmp, spa, entry->large))
		return HW_RMP_OVERLAP;
	if (entry->assigned)
		fresh = (struct rmp_entry){ .bits = RMP_ASSIGNED | (entry->large ? RMP_LARGE : 0),
					    .owner = RMP_OWNER(entry->gpa, entry->asid) };
	for (u32 i = 0; i < pages_of(entry->large); i++) {
		at[i] = fresh;
		fresh.owner += entry->assigned ? RMP_NEXT_PAGE : 0;
	}
	return HW_RMP_OK;
}

enum hw_rmp_result rmp_psmash(struct rmp *rmp, u64 spa)
{
	struct rmp_entry *at = rmp_entry(rmp, spa);

	if (!at || !is_aligned(spa, true) || !rmp_large_possible(rmp, spa))
		return HW_RMP_INPUT;
	for (u32 i = 0; i < PAGES_IN_2M; i++)
		at[i].bits &= ~RMP_LARGE;
	return HW_RMP_OK;
}

bool rmp_read(const struct rmp *rmp, u64 spa, struct hw_rmp_entry *entry)
{
	const struct rmp_entry *at = rmp_entry(rmp, spa);

	if (!at)
		return false;
	*entry = (struct hw_rmp_entry){ .gpa = (u64)(at->owner >> RMP_ASID_BITS) * PAGE_SIZE, .asid = at->owner % RMP_NEXT_PAGE,
					.assigned = at->bits & RMP_ASSIGNED, .large = at->bits & RMP_LARGE,
					.vmsa = at->bits & RMP_VMSA };
	return true;
}

static bool is_owner(const struct rmp_entry *entry, struct rmp_owner owner)
{
	return (entry->bits & RMP_ASSIGNED) && entry->owner == RMP_OWNER(owner.gpa, owner.asid);
}

enum rmp_fault rmp_check(const struct rmp *rmp, u64 spa, struct rmp_owner owner, u32 vmpl, u32 cpl, u64 info)
{
	const struct rmp_entry *entry = rmp_entry(rmp, spa);

	if (!is_owner(entry, owner))
		return RMP_NOT_ASSIGNED;
	if (!(entry->bits & RMP_VALIDATED))
		return RMP_NOT_VALIDATED;
	return rmp_allows(rmp_permissions(entry->bits, vmpl), cpl, info) ? RMP_OK : RMP_VMPL;
}

enum rmp_fault rmp_validate(struct rmp *rmp, u64 spa, struct rmp_owner owner, bool large, bool validate, u32 *result,
			    bool *unchanged)
{
	struct rmp_entry *entry = rmp_entry(rmp, spa);

	*unchanged = true;
	*result = SEV_SUCCESS;
	if (!is_owner(entry, owner))
		return RMP_NOT_ASSIGNED;
	if (!large && (entry->bits & RMP_LARGE))
		return RMP_SIZE;
	if (large && !(entry->bits & RMP_LARGE)) {
		*result = SEV_FAIL_SIZEMISMATCH;
		return RMP_OK;
	}
	for (u32 i = 0; i < pages_of(large); i++) {
		u32 after = validate ? entry[i].bits | RMP_VALIDATED : entry[i].bits & ~RMP_VALIDATED;

		if (after != entry[i].bits)
			*unchanged = false;
		entry[i].bits = after;
	}
	return RMP_OK;
}

enum rmp_fault rmp_adjust(struct rmp *rmp, u64 spa, struct rmp_owner owner, u32 vmpl, bool large, u64 attributes, u32 *result)
{
	u32 target = attributes & SEV_RMPADJUST_VMPL_MASK;
	u32 allowed = (attributes >> SEV_RMPADJUST_PERM_SHIFT) & 0xFF;
	bool vmsa = attributes & SEV_RMPADJUST_VMSA;
	struct rmp_entry *entry = rmp_entry(rmp, spa);

	*result = SEV_SUCCESS;
	if (!is_owner(entry, owner) || !(entry->bits & RMP_VALIDATED)) {
		*result = SEV_FAIL_INPUT;
		return RMP_NOT_VALIDATED;
	}
	if (vmpl && ((allowed & ~rmp_permissions(entry->bits, vmpl)) || vmsa)) {
		*result = SEV_FAIL_PERMISSION;
		return RMP_OK;
	}
	if (large && !(entry->bits & RMP_LARGE)) {
		*result = SEV_FAIL_SIZEMISMATCH;
		return RMP_OK;
	}
	if (!large && (entry->bits & RMP_LARGE))
		return RMP_SIZE;
	for (u32 i = 0; i < pages_of(large); i++) {
		entry[i].bits &= ~(0xFFu << RMP_PERMISSIONS(target));
		entry[i].bits |= allowed << RMP_PERMISSIONS(target);
		if (!vmpl)
			entry[i].bits = vmsa ? entry[i].bits | RMP_VMSA : entry[i].bits & ~RMP_VMSA;
	}
	return RMP_OK;
}
