/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "mmio.h"
#include "apic.h"
#include "apic_access.h"
#include "ioapic.h"
#include "memory.h"

#define ROM_WINDOW     0x1000000ull    /* below 4 GiB: the ROM has more in it than the firmware */
#define PHYSICAL_LIMIT 0x8000000000ull /* what the emulator maps */

static bool overlaps(u64 a, u64 a_size, u64 b, u64 b_size) { return a < b + b_size && b < a + a_size; }

static bool is_apic_page(struct vcpu *vcpu, u64 gpa)
{
	u64 base = vcpu->hv->config->apic == CONFIG_APIC_QEMU ? APIC_DEFAULT_BASE : vapic_base(own_apic(vcpu)) & APIC_BASE_ADDRESS;

	return (gpa & ~(PAGE_SIZE - 1)) == base;
}

/* Addresses that the guest must not reach: the emulator's memory, image and APIC, and addresses beyond the bus. */
static bool is_hidden(struct hypervisor *hv, u64 gpa, u64 size)
{
	const struct host_config *config = hv->config;

	return gpa > PHYSICAL_LIMIT - size || overlaps(gpa, size, config->host_base, config->host_size) ||
	       overlaps(gpa, size, config->ring_base, config->ring_size) || overlaps(gpa, size, APIC_DEFAULT_BASE, PAGE_SIZE) ||
	       overlaps(gpa, size, FOUR_GIB - ROM_WINDOW, ROM_WINDOW) || memory_region(hv, gpa);
}

static u64 device_read(u64 gpa, u32 size)
{
	switch (size) {
	case 1: return *(volatile u8 *)gpa;
	case 2: return *(volatile u16 *)gpa;
	case 4: return *(volatile u32 *)gpa;
	default: return *(volatile u64 *)gpa;
	}
}

static void device_write(u64 gpa, u32 size, u64 value)
{
	switch (size) {
	case 1: *(volatile u8 *)gpa = (u8)value; break;
	case 2: *(volatile u16 *)gpa = (u16)value; break;
	case 4: *(volatile u32 *)gpa = (u32)value; break;
	default: *(volatile u64 *)gpa = value; break;
	}
}

bool mmio_access(struct vcpu *vcpu, u64 gpa, u32 size, bool write, u64 *value, u64 pc)
{
	if (is_apic_page(vcpu, gpa) && (gpa & (PAGE_SIZE - 1)) + size <= PAGE_SIZE)
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
	else if (write)
		hand_over(vcpu, gpa);
	else
		hw_nested_device(vcpu->cpu, page, vcpu->hv->scratch_page, false);
}

void mmio_exit(struct vcpu *vcpu, const struct hw_exit *exit)
{
	u64 gpa = exit->info2;

	if (exit->info1 & SVM_NPF_ENC)
		hw_nested_reserved(vcpu->cpu);
	else if (is_apic_page(vcpu, gpa) || ioapic_owns(vcpu, gpa) || (vcpu->hv->sev && (vcpu->hv->config->vc_exits & CONFIG_VC_MMIO)))
		hand_over(vcpu, gpa);
	else
		map_device(vcpu, gpa, exit->info1 & SVM_NPF_WRITE);
}
