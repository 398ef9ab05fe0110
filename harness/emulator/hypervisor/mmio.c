/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "mmio.h"
#include "apic.h"
#include "apic_access.h"
#include "ioapic.h"
#include "layout.h"
#include "memory.h"

#define ROM_MULTIPLE 0x10000ull /* of the size of QEMU's ROM */
#define GIB          BIT(30)
#define PDE_GIB      0x83ull /* present, writable, large */

extern volatile u64 host_pdpt_devices[512]; /* tables.S */

static bool overlaps(u64 a, u64 a_size, u64 b, u64 b_size) { return a < b + b_size && b < a + a_size; }

/* No processor has such an address. It is never mapped: a nested walk of four levels ignores bits 48 and up. */
static bool is_beyond(struct hypervisor *hv, u64 gpa, u64 size) { return gpa > BIT(hv->config->phys_bits) - size; }

/* QEMU's ROM, in which there is more than the firmware. */
static u64 rom_start(const struct host_config *config) { return config->fw_rom & ~(ROM_MULTIPLE - 1); }

/* Addresses that the guest must not reach: the emulator's memory, image and IOMMU, and addresses beyond the bus. */
static bool is_hidden(struct hypervisor *hv, u64 gpa, u64 size)
{
	const struct host_config *config = hv->config;

	return is_beyond(hv, gpa, size) || overlaps(gpa, size, config->host_base, config->host_size) ||
	       overlaps(gpa, size, config->ring_base, config->ring_size) || overlaps(gpa, size, HOST_IOMMU, PAGE_SIZE) ||
	       overlaps(gpa, size, rom_start(config), FOUR_GIB - rom_start(config)) || memory_region(hv, gpa);
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
	if (ioapic_owns(vcpu, gpa))
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
static void hand_over(struct vcpu *vcpu, u64 gpa)
{
	if (vcpu->hv->sev)
		hw_nested_reserved(vcpu->cpu);
	else
		mmio_emulate(vcpu, gpa);
}

/* The guest may access the device directly: map it unless the page belongs to the emulator, else map a page of ones. */
static void map_device(struct vcpu *vcpu, u64 gpa, bool write)
{
	u64 page = gpa & ~(PAGE_SIZE - 1);

	if (!is_hidden(vcpu->hv, page, PAGE_SIZE))
		hw_nested_device(vcpu->cpu, page, page, true);
	else if (write || is_beyond(vcpu->hv, page, PAGE_SIZE))
		hand_over(vcpu, gpa);
	else
		hw_nested_device(vcpu->cpu, page, vcpu->hv->scratch_page, false);
}

void mmio_exit(struct vcpu *vcpu, const struct hw_exit *exit)
{
	u64 gpa = exit->info2;

	if (exit->info1 & SVM_NPF_ENC)
		hw_nested_reserved(vcpu->cpu);
	else if (apic_owns_page(vcpu, gpa) || ioapic_owns(vcpu, gpa) || (vcpu->hv->sev && (vcpu->hv->config->vc_exits & CONFIG_VC_MMIO)))
		hand_over(vcpu, gpa);
	else if (apic_needs_page(vcpu->hv, gpa))
		hand_over(vcpu, gpa);
	else
		map_device(vcpu, gpa, exit->info1 & SVM_NPF_WRITE);
}
