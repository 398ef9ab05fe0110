/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The parts of the machine that the protocols use: guest memory and the RMP. The caller has checked each GPA
 * against the memory map. Each function handles a page that is not validated or not assigned.
 */
#ifndef SVSM_HARDWARE_H
#define SVSM_HARDWARE_H

#include "sev.h"
#include "types.h"
#include "vmsa.h"

enum page_size {
	PAGE_4K = 0, /* the value of ECX for PVALIDATE and RMPADJUST */
	PAGE_2M = 1,
};

static inline u64 page_bytes(enum page_size size)
{
	return size == PAGE_2M ? PAGE_SIZE_2M : PAGE_SIZE;
}

/* One 64-bit access of guest memory (private view); false when it faulted. */
bool guest_read64(u64 gpa, u64 *value);
bool guest_write64(u64 gpa, u64 value);
bool guest_write16(u64 gpa, u16 value);
bool guest_write8(u64 gpa, u8 value);

/* Zeroes [gpa, gpa + size), 8 byte multiples; false when it faulted. */
bool guest_zero(u64 gpa, u64 size);

/* A VMSA page by its GPA. The page must be inaccessible to the guest (revoked) before. */
struct vmsa *guest_vmsa(u64 gpa);

/* EFER.SVME decides whether the hypervisor can enter a VMSA (APM vol. 2, 15.36.12). */
static inline void vmsa_enable(struct vmsa *vmsa)
{
	__atomic_fetch_or(&vmsa->efer, VMSA_EFER_SVME, __ATOMIC_SEQ_CST);
}

static inline void vmsa_disable(struct vmsa *vmsa)
{
	__atomic_fetch_and(&vmsa->efer, ~VMSA_EFER_SVME, __ATOMIC_SEQ_CST);
}

/* enum sev_result; SEV_FAIL_UNCHANGED for CF = 1, SEV_FAIL_INPUT when the instruction faulted. */
u32 hardware_pvalidate(u64 gpa, enum page_size size, bool validate);

/* enum sev_result; attributes: SEV_RMPADJUST_*; SEV_FAIL_INPUT when the instruction faulted. */
u32 hardware_rmpadjust(u64 gpa, enum page_size size, u64 attributes);

/* Use SEV_OPCODE_RMP_BATCH from now on, if it is wanted and there: else operations are one instruction each. */
void hardware_use_batches(bool wanted);

/* The operations in order, until one does not succeed: its result, as above. *done: how many succeeded. */
u32 hardware_rmp_operations(const struct sev_rmp_operation *operations, u32 count, u32 *done);

#endif
