/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "mmio.h"
#include "apic.h"
#include "apic_access.h"
#include "guard.h"
#include "ioapic.h"
#include "layout.h"
#include "memory.h"
#include "pci.h"

#define MESSAGES     0x100000ull /* QEMU's APIC makes an MSI of a processor's write as well, INIT and SIPI included */
#define GIB          BIT(30)
#define PDE_GIB      0x83ull /* present, writable, large */

extern volatile u64 host_pdpt_devices[512]; /* tables.S */

static bool overlaps(u64 a, u64 a_size, u64 b, u64 b_size) { return a < b + b_size && b < a + a_size; }

/* No processor has such an address. It is never mapped: a nested walk of four levels ignores bits 48 and up. */
static bool is_beyond(struct hypervisor *hv, u64 gpa, u64 size) { return gpa > BIT(hv->config->phys_bits) - size; }

static bool crosses_page(u64 gpa, u64 size) { return (gpa & (PAGE_SIZE - 1)) + size > PAGE_SIZE; }

/*
 * Addresses that the guest must not reach: the emulator's memory, image, IOMMU and processor, and addresses beyond the
 * bus. Two pages at once can be two devices, of which one is guarded: nothing answers.
 */
static bool is_hidden(struct hypervisor *hv, u64 gpa, u64 size)
{
	const struct host_config *config = hv->config;

	return is_beyond(hv, gpa, size) || crosses_page(gpa, size) || overlaps(gpa, size, config->host_base, config->host_size) ||
	       overlaps(gpa, size, config->ring_base, config->ring_size) || overlaps(gpa, size, APIC_DEFAULT_BASE, MESSAGES) ||
	       overlaps(gpa, size, HOST_IOMMU, PAGE_SIZE) ||
	       overlaps(gpa, size, config->launch_base, config->launch_size) ||
	       overlaps(gpa, size, config->rom_base, FOUR_GIB - config->rom_base) || memory_region(hv, gpa);
}

/* Where the emulator has the device. Beyond the identity map: the GiB with it and the next, in a window. */
static u64 device_address(u64 gpa)
{
	u64 gib = gpa & ~(GIB - 1);

	if (gpa < IDENTITY_SIZE - GIB)
		return gpa;
	for (u64 i = 0; i < 2; i++) {
		host_pdpt_devices[i] = (gib + i * GIB) | PDE_GIB;
		__asm__ volatile("invlpg (%0)" : : "r"(DEVICE_WINDOW + i * GIB) : "memory");
	}
	return DEVICE_WINDOW + (gpa - gib);
}

static u64 device_read(u64 gpa, u32 size)
{
	u64 address = device_address(gpa);

	switch (size) {
	case 1: return *(volatile u8 *)address;
	case 2: return *(volatile u16 *)address;
	case 4: return *(volatile u32 *)address;
	default: return *(volatile u64 *)address;
	}
}

static void device_write(u64 gpa, u32 size, u64 value)
{
	u64 address = device_address(gpa);

	switch (size) {
	case 1: *(volatile u8 *)address = (u8)value; break;
	case 2: *(volatile u16 *)address = (u16)value; break;
	case 4: *(volatile u32 *)address = (u32)value; break;
	default: *(volatile u64 *)address = value; break;
	}
}

bool mmio_access(struct vcpu *vcpu, u64 gpa, u32 size, bool write, u64 *value, u64 pc)
{
	if (apic_owns_page(vcpu, gpa) || apic_owns_page(vcpu, gpa + size - 1))
		return apic_mmio(vcpu, gpa, size, write, value, pc) != VAPIC_NOT_CLAIMED;
	if (is_hidden(vcpu->hv, gpa, size)) {
		if (!write)
			*value = ~0ull;
		return false;
	}
	if (write && pci_guards_page(vcpu->hv, gpa) && !pci_page_write(vcpu, gpa, size, *value))
		return true;
	if (write && guard_owns_hpet(gpa) && !guard_hpet_write(vcpu, gpa, size, value))
		return true;
	if (ioapic_owns(gpa))
		ioapic_access(vcpu, gpa, size, write, value);
	else if (write)
		device_write(gpa, size, *value);
	else
		*value = device_read(gpa, size);
	if (log_at(vcpu, 2))
		hw_log(vcpu->cpu, (struct record){ .kind = RECORD_MMIO, .rip = pc, .address = gpa, .value = *value, .size = (u8)size,
						 .path = RECORD_PATH_MMIO, .flags = write ? RECORD_WRITE : 0 });
	return true;
}

/* #VC with SEV; without, the hypervisor carries out the instruction. */
static void hand_over(struct vcpu *vcpu, u64 gpa, u64 info)
{
	if (vcpu->hv->es)
		hw_nested_reserved(vcpu->cpu);
	else
		mmio_emulate(vcpu, gpa, info);
}

/* Whether writes to a page are guarded, but reads are not. */
static bool is_read_only(struct vcpu *vcpu, u64 gpa) { return guard_owns_hpet(gpa) || pci_guards_page(vcpu->hv, gpa); }

/* The guest may access the device directly: map it unless the page belongs to the emulator, else map a page of ones. */
static void map_device(struct vcpu *vcpu, u64 gpa, u64 info)
{
	bool write = info & SVM_NPF_WRITE;
	u64 page = gpa & ~(PAGE_SIZE - 1);

	if (write && is_read_only(vcpu, gpa))
		hand_over(vcpu, gpa, info);
	else if (!is_hidden(vcpu->hv, page, PAGE_SIZE))
		hw_nested_device(vcpu->cpu, page, page, !is_read_only(vcpu, gpa));
	else if (write || is_beyond(vcpu->hv, page, PAGE_SIZE))
		hand_over(vcpu, gpa, info);
	else
		hw_nested_device(vcpu->cpu, page, vcpu->hv->scratch_page, false);
}

/* Whether the hypervisor makes the accesses to a page itself where the guest could make them. */
static bool serves_page(struct vcpu *vcpu, u64 gpa)
{
	return apic_owns_page(vcpu, gpa) || ioapic_owns(gpa) || apic_needs_page(vcpu->hv, gpa);
}

bool mmio_is_device(struct vcpu *vcpu, u64 gpa)
{
	return !serves_page(vcpu, gpa) && !is_hidden(vcpu->hv, gpa & ~(PAGE_SIZE - 1), PAGE_SIZE) && !is_read_only(vcpu, gpa);
}

void mmio_exit(struct vcpu *vcpu, const struct hw_exit *exit)
{
	bool exits = vcpu->hv->config->vc_exits & CONFIG_VC_MMIO;
	u64 gpa = exit->info2;

	/* A plain guest's code in a device's page is in its ROM or RAM, which KVM maps. */
	if (!vcpu->hv->es && (exit->info1 & SVM_NPF_FETCH) && mmio_is_device(vcpu, gpa))
		map_device(vcpu, gpa, exit->info1);
	/* With SEV only the hypervisor carries out a private access as well: it ignores the C-bit. */
	else if (exits || (exit->info1 & SVM_NPF_ENC) || serves_page(vcpu, gpa))
		hand_over(vcpu, gpa, exit->info1);
	else
		map_device(vcpu, gpa, exit->info1);
}
