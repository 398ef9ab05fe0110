/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A lock between vCPUs. It is not held while the guest runs, and one vCPU does not acquire it twice.
 */
#ifndef SVSM_LOCK_H
#define SVSM_LOCK_H

#include "types.h"

struct lock {
	u32 held;
};

/* After PAUSE the hypervisor runs another vCPU. */
static inline void lock_take(struct lock *lock)
{
	while (__atomic_exchange_n(&lock->held, 1, __ATOMIC_ACQUIRE))
		asm volatile("pause");
}

static inline void lock_release(struct lock *lock)
{
	__atomic_store_n(&lock->held, 0, __ATOMIC_RELEASE);
}

#endif
