/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QEMU's I/O APIC interrupts the processor of the vCPU that the guest has chosen, as a message does (catch.c). But a
 * level-triggered interrupt waits for the guest's EOI, and only the processor that runs the emulator makes it: the
 * destination stays here, and the device gets APIC ID 0. An entry that would send INIT or SMI is masked in the device
 * (ioapic_registers.h: redirection table entries of 64 bits, by index and window).
 */
#include "ioapic.h"
#include "apic.h"
#include "guard.h"
#include "ioapic_registers.h"
#include "x86.h"

#define IOAPIC_DECODED 0xFFu /* bits of an offset in the page */

bool ioapic_owns(u64 gpa) { return (gpa & ~(PAGE_SIZE - 1)) == IOAPIC_BASE; }

/* The half of an entry that the index names; NULL: another register. */
static u32 *named(struct hypervisor *hv)
{
	u32 half = hv->ioapic_index - IOAPIC_ENTRY;

	return hv->ioapic_index >= IOAPIC_ENTRY && half < IOAPIC_HALVES ? &hv->ioapic[half] : NULL;
}

static bool is_high(struct hypervisor *hv) { return hv->ioapic_index & 1; }

static bool is_for_emulator(u32 mode) { return mode == APIC_DELIVER_INIT || mode == APIC_DELIVER_SMI; }

static u32 mode_of(u32 low) { return (low & APIC_LVT_DELIVERY) >> APIC_LVT_DELIVERY_SHIFT; }

/* An edge with a vector, or an NMI: its destination is the device's as well. */
static bool is_direct(const struct hypervisor *hv, u32 low)
{
	u32 mode = mode_of(low);

	return hv->vcpus == 1 || (!(low & IOAPIC_ENTRY_LEVEL) && (mode <= APIC_DELIVER_LOWEST || mode == APIC_DELIVER_NMI));
}

static u32 low_for_device(struct vcpu *vcpu, u64 gpa, u32 value)
{
	if (is_for_emulator(mode_of(value))) {
		guard_refused(vcpu, RECORD_REFUSED_SMI, gpa, sizeof(value), value);
		return (value & ~IOAPIC_ENTRY_DESTINATION) | IOAPIC_ENTRY_MASKED;
	}
	if (is_direct(vcpu->hv, value))
		return value;
	return value & ~(mode_of(value) <= APIC_DELIVER_LOWEST ? IOAPIC_ENTRY_DESTINATION : (u32)APIC_ICR_LOGICAL);
}

static u32 high_for_device(const struct hypervisor *hv, u32 half)
{
	return is_direct(hv, hv->ioapic[half & ~1u]) ? hv->ioapic[half | 1] : 0;
}

static void device_write(u32 index, u32 value)
{
	mmio_write32(IOAPIC_BASE + IOAPIC_INDEX, index); /* the window's register is certain */
	mmio_write32(IOAPIC_BASE + IOAPIC_WINDOW, value);
}

/* The high half may change with the low one: masked meanwhile. */
static void write_entry(struct vcpu *vcpu, u64 gpa, u32 half)
{
	struct hypervisor *hv = vcpu->hv;
	u32 low = half & 1 ? 0 : low_for_device(vcpu, gpa, hv->ioapic[half]);

	if (!(half & 1) && hv->vcpus > 1)
		device_write(IOAPIC_ENTRY + half, low | IOAPIC_ENTRY_MASKED);
	if ((half & 1) || hv->vcpus > 1)
		device_write(IOAPIC_ENTRY + (half | 1), high_for_device(hv, half));
	if (!(half & 1))
		device_write(IOAPIC_ENTRY + half, low);
}

void ioapic_access(struct vcpu *vcpu, u64 gpa, u32 size, bool write, u64 *value)
{
	struct hypervisor *hv = vcpu->hv;
	u32 offset = gpa & IOAPIC_DECODED;
	u32 *entry = offset == IOAPIC_WINDOW && size == 4 ? named(hv) : NULL;

	if (!write) {
		*value = mmio_read32(gpa & ~3ull) >> 8 * (gpa & 3);
		if (entry)
			*value = is_high(hv) ? *entry : (*value & ~(u64)IOAPIC_ENTRY_DESTINATION) | (*entry & IOAPIC_ENTRY_DESTINATION);
		return;
	}
	if (offset == IOAPIC_INDEX)
		hv->ioapic_index = (u8)*value;
	if (entry) {
		*entry = (u32)*value;
		write_entry(vcpu, gpa, hv->ioapic_index - IOAPIC_ENTRY);
	}
	mmio_write32(IOAPIC_BASE + IOAPIC_INDEX, hv->ioapic_index);
	if (!entry && offset != IOAPIC_INDEX && size == 4) /* the device ignores others */
		mmio_write32(IOAPIC_BASE + offset, (u32)*value);
}

bool ioapic_route(struct hypervisor *hv, u8 vector, u64 *icr)
{
	for (u32 i = 0; i < IOAPIC_HALVES && hv->vcpus > 1; i += 2) {
		u32 low = hv->ioapic[i];
		u64 destination = hv->ioapic[i + 1] >> APIC_ID_SHIFT;

		if ((low & (IOAPIC_ENTRY_VECTOR | IOAPIC_ENTRY_MASKED)) != vector || is_direct(hv, low))
			continue;
		if (destination == APIC_BROADCAST_XAPIC)
			destination = APIC_BROADCAST;
		*icr = destination << APIC_ICR_DESTINATION_SHIFT | (low & IOAPIC_ENTRY_DESTINATION) | vector;
		return true;
	}
	return false;
}
