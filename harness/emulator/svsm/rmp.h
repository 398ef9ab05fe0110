/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Permissions of the guest's VMPL on its pages, granted and revoked as in COCONUT's sev/utils.rs.
 * Results are enum sev_result.
 */
#ifndef SVSM_RMP_H
#define SVSM_RMP_H

#include "hardware.h"

/* All permissions for the guest VMPL. */
u32 rmp_grant(u64 gpa, enum page_size size, u32 guest_vmpl);

/* No permissions for the guest VMPL and those below it. */
u32 rmp_revoke(u64 gpa, enum page_size size, u32 guest_vmpl);

/* The same, and PVALIDATE, as operations for hardware_rmp_operations(). Each returns their number. */
#define RMP_REVOKE_OPERATIONS 3
u32 rmp_grant_operation(struct sev_rmp_operation *to, u64 gpa, enum page_size size, u32 guest_vmpl);
u32 rmp_revoke_operations(struct sev_rmp_operation *to, u64 gpa, enum page_size size, u32 guest_vmpl);
u32 rmp_pvalidate_operation(struct sev_rmp_operation *to, u64 gpa, enum page_size size, bool validate, bool ignore_cf);

/* The page becomes a VMSA of the guest VMPL, readable by it. */
u32 rmp_set_vmsa(u64 gpa, u32 guest_vmpl);

/* The same for a VMSA of VMPL0, in the SVSM's memory: no permissions for any other VMPL. */
u32 rmp_set_own_vmsa(u64 gpa, u32 guest_vmpl);

/* A VMSA page becomes an ordinary page of the guest. */
u32 rmp_clear_vmsa(u64 gpa, u32 guest_vmpl);

/* rmp_grant() of a range, in 2 MiB steps where the range and the RMP allow. */
u32 rmp_grant_range(u64 gpa, u64 size, u32 guest_vmpl);

#endif
