/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QEMU's I/O APIC has to interrupt the one processor that runs the emulator, and the hypervisor the vCPU that the guest
 * has chosen. So with several vCPUs the guest's destinations stay here, and the device gets APIC ID 0. An entry that would
 * send INIT or SMI is masked in the device: its processor is the emulator's
 * (82093AA data sheet, section 3.2: redirection table entries of 64 bits, by index and window).
 */
#include "ioapic.h"
#include "apic.h"
#include "guard.h"
#include "x86.h"

#define IOAPIC_BASE   0xFEC00000ull
#define IOAPIC_INDEX  0x00
#define IOAPIC_WINDOW 0x10
#define IOAPIC_DECODED 0xFFu /* bits of an offset in the page */
#define FIRST_ENTRY   0x10 /* index of the first entry's low half; the high one follows */

/* Low half of an entry. */
#define ENTRY_VECTOR      0xFFu
#define ENTRY_DESTINATION 0xF00u /* delivery mode 10:8, destination mode 11 */
#define ENTRY_MASKED      0x10000u

bool ioapic_owns(struct vcpu *vcpu, u64 gpa)
{
	(void)vcpu;
	return (gpa & ~(PAGE_SIZE - 1)) == IOAPIC_BASE;
}

/* The half of an entry that the index names; NULL: another register. */
static u32 *named(struct hypervisor *hv)
{
	u32 half = hv->ioapic_index - FIRST_ENTRY;

	return hv->ioapic_index >= FIRST_ENTRY && half < IOAPIC_HALVES ? &hv->ioapic[half] : NULL;
}

static bool is_high(struct hypervisor *hv) { return hv->ioapic_index & 1; }

static bool is_for_emulator(u32 mode) { return mode == APIC_DELIVER_INIT || mode == APIC_DELIVER_SMI; }

static u32 for_device(struct vcpu *vcpu, u64 gpa, u32 value)
{
	struct hypervisor *hv = vcpu->hv;
	u32 mode = (value & APIC_LVT_DELIVERY) >> APIC_LVT_DELIVERY_SHIFT;

	if (!is_high(hv) && is_for_emulator(mode)) {
		guard_refused(vcpu, RECORD_REFUSED_SMI, gpa, sizeof(value), value);
		return (value & ~ENTRY_DESTINATION) | ENTRY_MASKED;
	}
	if (hv->vcpus == 1)
		return value;
	if (is_high(hv))
		return 0;
	if (mode <= APIC_DELIVER_LOWEST)
		return value & ~ENTRY_DESTINATION;
	return value & ~(u32)APIC_ICR_LOGICAL;
}

void ioapic_access(struct vcpu *vcpu, u64 gpa, u32 size, bool write, u64 *value)
{
	struct hypervisor *hv = vcpu->hv;
	u32 offset = gpa & IOAPIC_DECODED;
	u32 *entry = offset == IOAPIC_WINDOW && size == 4 ? named(hv) : NULL;

	if (!write) {
		*value = mmio_read32(gpa & ~3ull) >> 8 * (gpa & 3);
		if (entry)
			*value = is_high(hv) ? *entry : (*value & ~(u64)ENTRY_DESTINATION) | (*entry & ENTRY_DESTINATION);
		return;
	}
	if (offset == IOAPIC_INDEX)
		hv->ioapic_index = (u8)*value;
	if (entry)
		*entry = (u32)*value;
	mmio_write32(IOAPIC_BASE + IOAPIC_INDEX, hv->ioapic_index); /* the window's register is certain */
	if (offset != IOAPIC_INDEX && size == 4) /* the device ignores others */
		mmio_write32(IOAPIC_BASE + offset, entry ? for_device(vcpu, gpa, (u32)*value) : (u32)*value);
}

bool ioapic_route(struct hypervisor *hv, u8 vector, u64 *icr)
{
	for (u32 i = 0; i < IOAPIC_HALVES && hv->vcpus > 1; i += 2) {
		u32 low = hv->ioapic[i];
		u64 destination = hv->ioapic[i + 1] >> APIC_ID_SHIFT;

		if ((low & (ENTRY_VECTOR | ENTRY_MASKED)) != vector || !low)
			continue;
		if (destination == APIC_BROADCAST_XAPIC)
			destination = APIC_BROADCAST;
		*icr = destination << APIC_ICR_DESTINATION_SHIFT | (low & ENTRY_DESTINATION) | vector;
		return true;
	}
	return false;
}
