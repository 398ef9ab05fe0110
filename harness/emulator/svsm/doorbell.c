/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "doorbell.h"

#define NO_EOI_REQUIRED 0x01u /* of byte GHCB_DOORBELL_NO_EOI */

struct doorbell_events doorbell_take(u8 *page, u32 guest_vmpl)
{
	struct doorbell_events events = { 0 };
	u8 flags;

	/* The flag is cleared first: from here on the hypervisor signals again. */
	flags = __atomic_fetch_and(page + GHCB_DOORBELL_FLAGS,
				   (u8) ~(GHCB_DOORBELL_FLAG_NO_FURTHER_SIGNAL | GHCB_DOORBELL_FLAG_NMI |
					  GHCB_DOORBELL_FLAG_MC),
				   __ATOMIC_SEQ_CST);
	events.machine_check = flags & GHCB_DOORBELL_FLAG_MC;
	events.vector = __atomic_exchange_n(page + GHCB_DOORBELL_VECTOR, 0, __ATOMIC_SEQ_CST);
	if (events.vector)
		events.eoi = !(__atomic_fetch_and(page + GHCB_DOORBELL_NO_EOI, (u8)~NO_EOI_REQUIRED, __ATOMIC_SEQ_CST) &
			       NO_EOI_REQUIRED);
	events.guest = __atomic_exchange_n(page + GHCB_DOORBELL_VMPL_EVENTS, 0, __ATOMIC_SEQ_CST) & BIT(guest_vmpl - 1);
	return events;
}

struct ghcb_doorbell_vmpl *doorbell_entry(u8 *page, u32 vmpl)
{
	return (struct ghcb_doorbell_vmpl *)(page + GHCB_DOORBELL_VMPL_FIRST) + (vmpl - 1);
}
