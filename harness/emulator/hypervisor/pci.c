/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Of QEMU's q35, three registers of configuration space move a window to an address that the guest chooses: PCIEXBAR of
 * the host bridge (MMCONFIG, over everything, DIMMs included), RCBA (below 4 GiB, over RAM and ROM) and PMBASE (ports) of
 * the LPC bridge. They may lie where there is nothing else. BARs have less priority than RAM and DIMMs. (Intel 82G35
 * data sheet 5.1.18, ICH9 data sheet 13.1; QEMU hw/pci-host/q35.c, hw/isa/lpc_ich9.c.)
 *
 * The guest's address register (CF8) is kept here. The device's one names a function only while an access is made: an
 * I/O BAR over CF8 cannot leave it at a guarded register.
 */
#include "pci.h"
#include "guard.h"
#include "ioapic_registers.h"
#include "x86.h"

#define PCI_ADDRESS 0xCF8u
#define PCI_DATA    0xCFCu
#define PCI_ENABLE  BIT(31)

#define ECAM_ALIGNMENT 0x4000000ull /* PCIEXBAR's smallest step */
#define HOST_BRIDGE    0x0000u
#define HOST_BRIDGE_ID 0x29C08086u
#define LPC            0x00F8u /* 00:1f.0 */
#define LPC_ID         0x29188086u

#define PCIEXBAR        0x60u
#define PCIEXBAR_ENABLE BIT(0)
#define PCIEXBAR_LENGTH(value) ((value) >> 1 & 3) /* 256, 128, 64 MiB, reserved */
#define PCIEXBAR_LIMIT  BIT(36)
#define PMBASE          0x40u
#define PMBASE_ADDRESS  0xFF80u
#define PMBASE_NORMAL   0x600u
#define RCBA            0xF0u
#define RCBA_ENABLE     BIT(0)
#define RCBA_SIZE       0x4000ull
#define RCBA_NORMAL     0xFED1C000ull

/* Where an access goes: by port, or by a page of MMCONFIG. */
struct target {
	u32 function;
	u64 page; /* 0: by port */
};

/* An access to the data port, with an address register that names a function only meanwhile. */
static u32 data_read(u32 address, u16 port, u32 size)
{
	u32 value;

	outl(PCI_ADDRESS, address);
	value = port_read(port, size);
	outl(PCI_ADDRESS, 0);
	return value;
}

static void data_write(u32 address, u16 port, u32 size, u32 value)
{
	outl(PCI_ADDRESS, address);
	port_write(port, size, value);
	outl(PCI_ADDRESS, 0);
}

static u32 read_dword(const struct target *target, u32 offset)
{
	if (target->page)
		return mmio_read32(target->page + offset);
	return data_read((u32)PCI_ENABLE | target->function << 8 | offset, PCI_DATA, 4);
}

/* A register of 8 bytes as it would be after the write. */
static u64 merged(const struct target *target, u32 reg, u32 offset, u32 size, u64 value)
{
	u64 now = read_dword(target, reg) | (u64)read_dword(target, reg + 4) << 32;

	for (u32 i = 0; i < size; i++) {
		u32 at = offset + i - reg;

		if (at < 8)
			now = (now & ~(0xFFull << 8 * at)) | (value >> 8 * i & 0xFF) << 8 * at;
	}
	return now;
}

/* Above RAM, below the fixed devices, of which the I/O APIC is the first: only BARs are there. */
static bool in_hole(const struct hypervisor *hv, u64 start, u64 end) { return start >= hv->config->ram_low && end <= IOAPIC_BASE; }

/* For all lengths the start is rounded down as for the length, and the end counts from the start as written. */
static bool good_pciexbar(const struct hypervisor *hv, u64 value)
{
	u64 length = 0x10000000ull >> (PCIEXBAR_LENGTH(value) % 3);
	u64 written = value & ~(ECAM_ALIGNMENT - 1);

	return !(value & PCIEXBAR_ENABLE) || (value < PCIEXBAR_LIMIT && in_hole(hv, written & ~(length - 1), written + length));
}

static bool good_rcba(const struct hypervisor *hv, u32 value)
{
	u64 start = value & ~(RCBA_SIZE - 1);

	return !(value & RCBA_ENABLE) || start == RCBA_NORMAL || in_hole(hv, start, start + RCBA_SIZE);
}

static bool good_pmbase(u32 value) { return !(value & PMBASE_ADDRESS) || (value & PMBASE_ADDRESS) == PMBASE_NORMAL; }

static bool overlaps(u32 offset, u32 size, u32 reg, u32 reg_size) { return offset < reg + reg_size && reg < offset + size; }

static bool may_write(const struct hypervisor *hv, const struct target *target, u32 offset, u32 size, u64 value)
{
	if (target->function == HOST_BRIDGE && overlaps(offset, size, PCIEXBAR, 8))
		return good_pciexbar(hv, merged(target, PCIEXBAR, offset, size, value));
	if (target->function == LPC && overlaps(offset, size, PMBASE, 4) &&
	    !good_pmbase((u32)merged(target, PMBASE, offset, size, value)))
		return false;
	if (target->function == LPC && overlaps(offset, size, RCBA, 4))
		return good_rcba(hv, (u32)merged(target, RCBA, offset, size, value));
	return true;
}

static void refused(struct vcpu *vcpu, const struct target *target, u32 offset, u32 size, u64 value)
{
	guard_refused(vcpu, RECORD_REFUSED_WINDOW, (u64)target->function << 12 | offset, size, value);
}

/* By port. */

static u32 addressed_function(const struct hypervisor *hv) { return hv->pci_address >> 8 & 0xFFFF; }
static u32 addressed_offset(const struct hypervisor *hv, u16 port) { return (hv->pci_address | (port & 3u)) & 0xFF; }

u32 pci_port_read(struct vcpu *vcpu, u16 port, u32 size)
{
	const struct hypervisor *hv = vcpu->hv;

	if (port == PCI_ADDRESS && size == 4)
		return hv->pci_address;
	if (port < PCI_DATA)
		return port_read(port, size);
	return data_read(hv->pci_address, port, size);
}

void pci_port_write(struct vcpu *vcpu, u16 port, u32 size, u32 value)
{
	struct hypervisor *hv = vcpu->hv;
	struct target target = { .function = addressed_function(hv) };
	u32 offset = addressed_offset(hv, port);

	if (port == PCI_ADDRESS && size == 4) {
		hv->pci_address = value;
		return;
	}
	if (port < PCI_DATA) { /* CF9; the device ignores the others */
		guard_reset(vcpu, port, size, value);
		return;
	}
	if (!(hv->pci_address & PCI_ENABLE) || may_write(hv, &target, offset, size, value))
		data_write(hv->pci_address, port, size, value);
	else
		refused(vcpu, &target, offset, size, value);
}

/* By MMCONFIG: the page of a function is at its number, from a start that only PCIEXBAR knows. */

static u64 page_of(u64 gpa) { return gpa & ~(PAGE_SIZE - 1); }
static u32 function_at(u64 gpa) { return (u32)(gpa & (ECAM_ALIGNMENT - 1)) >> 12; }

bool pci_guards_page(const struct hypervisor *hv, u64 gpa)
{
	u32 function = function_at(gpa);

	return (function == HOST_BRIDGE || function == LPC) && in_hole(hv, page_of(gpa), page_of(gpa) + PAGE_SIZE);
}

bool pci_page_write(struct vcpu *vcpu, u64 gpa, u32 size, u64 value)
{
	const struct hypervisor *hv = vcpu->hv;
	struct target target = { .function = function_at(gpa), .page = page_of(gpa) };
	u32 id = read_dword(&target, 0);
	u32 offset = gpa & (PAGE_SIZE - 1);

	if (id != (target.function == HOST_BRIDGE ? HOST_BRIDGE_ID : LPC_ID) || may_write(hv, &target, offset, size, value))
		return true;
	refused(vcpu, &target, offset, size, value);
	return false;
}
