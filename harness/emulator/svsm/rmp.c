/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "rmp.h"

#include "sev.h"

#define VMPL_LAST 3

static u64 attributes(u32 vmpl, u32 permissions)
{
	return vmpl | ((u64)permissions << SEV_RMPADJUST_PERM_SHIFT);
}

u32 rmp_grant(u64 gpa, enum page_size size, u32 guest_vmpl)
{
	return hardware_rmpadjust(gpa, size, attributes(guest_vmpl, SEV_PERM_ALL));
}

u32 rmp_grant_operation(struct sev_rmp_operation *to, u64 gpa, enum page_size size, u32 guest_vmpl)
{
	*to = (struct sev_rmp_operation){ .page = gpa | SEV_RMP_OPERATION_RMPADJUST | (size == PAGE_2M ? SEV_RMP_OPERATION_2M : 0),
					  .rdx = attributes(guest_vmpl, SEV_PERM_ALL) };
	return 1;
}

u32 rmp_revoke_operations(struct sev_rmp_operation *to, u64 gpa, enum page_size size, u32 guest_vmpl)
{
	u32 count = 0;

	for (u32 vmpl = guest_vmpl; vmpl <= VMPL_LAST; vmpl++) {
		rmp_grant_operation(&to[count], gpa, size, vmpl);
		to[count++].rdx = attributes(vmpl, 0);
	}
	return count;
}

u32 rmp_pvalidate_operation(struct sev_rmp_operation *to, u64 gpa, enum page_size size, bool validate, bool ignore_cf)
{
	*to = (struct sev_rmp_operation){ .page = gpa | (size == PAGE_2M ? SEV_RMP_OPERATION_2M : 0) |
						  (ignore_cf ? SEV_RMP_OPERATION_IGNORE_CF : 0),
					  .rdx = validate };
	return 1;
}

u32 rmp_revoke(u64 gpa, enum page_size size, u32 guest_vmpl)
{
	struct sev_rmp_operation operations[RMP_REVOKE_OPERATIONS];
	u32 done;

	return hardware_rmp_operations(operations, rmp_revoke_operations(operations, gpa, size, guest_vmpl), &done);
}

u32 rmp_set_vmsa(u64 gpa, u32 guest_vmpl)
{
	u32 result = rmp_revoke(gpa, PAGE_4K, guest_vmpl);

	if (result != SEV_SUCCESS)
		return result;
	return hardware_rmpadjust(gpa, PAGE_4K, attributes(guest_vmpl, SEV_PERM_READ) | SEV_RMPADJUST_VMSA);
}

u32 rmp_set_own_vmsa(u64 gpa, u32 guest_vmpl)
{
	return hardware_rmpadjust(gpa, PAGE_4K, attributes(guest_vmpl, 0) | SEV_RMPADJUST_VMSA);
}

u32 rmp_clear_vmsa(u64 gpa, u32 guest_vmpl)
{
	u32 result = rmp_revoke(gpa, PAGE_4K, guest_vmpl);

	return result != SEV_SUCCESS ? result : rmp_grant(gpa, PAGE_4K, guest_vmpl);
}

u32 rmp_grant_range(u64 gpa, u64 size, u32 guest_vmpl)
{
	u64 end = gpa + size;

	while (gpa < end) {
		u32 result = SEV_FAIL_SIZEMISMATCH;
		enum page_size page = PAGE_2M;

		if ((gpa & (PAGE_SIZE_2M - 1)) == 0 && end - gpa >= PAGE_SIZE_2M)
			result = rmp_grant(gpa, page, guest_vmpl);
		if (result == SEV_FAIL_SIZEMISMATCH) {
			page = PAGE_4K;
			result = rmp_grant(gpa, page, guest_vmpl);
		}
		if (result != SEV_SUCCESS)
			return result;
		gpa += page_bytes(page);
	}
	return SEV_SUCCESS;
}
