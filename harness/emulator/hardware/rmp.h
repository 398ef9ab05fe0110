/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The Reverse Map Table: the owner of each page of memory, and the permissions of each VMPL on it (APM vol. 2,
 * 15.36.3-15.36.10). By system physical address, an entry a 4 KiB page. No processor, no log: only the table and its rules.
 */
#ifndef SNP_HW_RMP_H
#define SNP_HW_RMP_H

#include "hw.h"
#include "page_table.h"

/* Bits of an entry, as records have them. */
#define RMP_ASSIGNED  0x01u /* by RMPUPDATE, to a guest */
#define RMP_VALIDATED 0x02u
#define RMP_LARGE     0x04u /* part of a 2 MiB entry */
#define RMP_VMSA      0x08u
#define RMP_SHARED    0x10u /* in records only: not assigned, and mapped as shared */
#define RMP_PERMISSIONS(vmpl) (8 * (vmpl)) /* shift; VMPL1-3 only, VMPL0 may do everything */

#define RMP_SEGMENTS  HW_SLOTS

struct rmp_entry {
	u32 bits;
	u32 owner; /* guest frame number << 4 | ASID: addresses up to 2^40 */
};

#define RMP_ASID_BITS 4
#define RMP_OWNER(gpa, asid) ((u32)((gpa) / PAGE_SIZE) << RMP_ASID_BITS | (asid))
#define RMP_NEXT_PAGE (1u << RMP_ASID_BITS) /* difference between the entries of consecutive pages */

/* A range of memory that the table covers. */
struct rmp_segment {
	u64 spa;
	u64 size;
	struct rmp_entry *entries; /* size / 4096 */
};

struct rmp {
	u32 segments;
	struct rmp_segment segment[RMP_SEGMENTS];
};

/* Result of an access or an instruction. */
enum rmp_fault {
	RMP_OK = 0,
	RMP_NOT_ASSIGNED,  /* #NPF, RMP: not assigned, or to another guest, or at another GPA */
	RMP_SIZE,          /* #NPF, RMP and SIZEM: a 4 KiB operation on a 2 MiB entry */
	RMP_NOT_VALIDATED, /* #VC 404 */
	RMP_VMPL,          /* #NPF, RMP and VMPL: the permissions forbid it */
};

struct rmp_owner {
	u64 gpa; /* of the page at the corresponding address, with the same alignment */
	u32 asid;
};

bool rmp_cover(struct rmp *rmp, u64 spa, u64 size, struct rmp_entry *entries);
struct rmp_entry *rmp_entry(const struct rmp *rmp, u64 spa); /* NULL: not covered */
bool rmp_large_possible(const struct rmp *rmp, u64 spa); /* all of the 2 MiB page around it is covered */
bool rmp_uniform(const struct rmp *rmp, u64 spa); /* the 512 entries around it differ in sizes only; GPAs are consecutive */
bool rmp_is_vmsa(const struct rmp *rmp, u64 spa);
u32 rmp_permissions(u32 bits, u32 vmpl); /* SEV_PERM_* */
bool rmp_allows(u32 allowed, u32 cpl, u64 info); /* an access at that CPL with these bits of EXITINFO1 */

enum hw_rmp_result rmp_update(struct rmp *rmp, u64 spa, const struct hw_rmp_entry *entry);
enum hw_rmp_result rmp_psmash(struct rmp *rmp, u64 spa);
bool rmp_read(const struct rmp *rmp, u64 spa, struct hw_rmp_entry *entry);

/* A private access of a guest. */
enum rmp_fault rmp_check(const struct rmp *rmp, u64 spa, struct rmp_owner owner, u32 vmpl, u32 cpl, u64 info);

/* PVALIDATE and RMPADJUST (APM vol. 3), as far as they concern the table. `result`: EAX, if there is no fault. */
enum rmp_fault rmp_validate(struct rmp *rmp, u64 spa, struct rmp_owner owner, bool large, bool validate, u32 *result,
			    bool *unchanged);
enum rmp_fault rmp_adjust(struct rmp *rmp, u64 spa, struct rmp_owner owner, u32 vmpl, bool large, u64 attributes, u32 *result);

#endif
