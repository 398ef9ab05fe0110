/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest that tries to reach the emulator: its memory, its log, its processor (docs/log.md, "The log cannot be reached").
 * With 128 MiB of RAM the emulator's memory starts at 4 GiB.
 */
#include "apic_access.h"
#include "guest.h"
#include "hpet.h"
#include "reach.h"

#define SMI_ENABLE 0x630
#define TCO        0x660

TEST(mmconfig_never_covers_memory, ALL)
{
	static const u64 refused[] = { 0, 0x4000000, 0xF0000000, 0xFC000000, 0x100000000, 0x108000000, 0x1C0000000, 0xFC0000000, 0x1000000000 };

	EQUAL(pci_read(HOST_BRIDGE, 0), HOST_BRIDGE_ID);
	for (u32 i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		for (u32 length = 0; length < 4; length++) { /* 256, 128, 64 MiB, reserved */
			if (refused[i] == 0xF0000000 && length)
				continue; /* it fits below the I/O APIC */
			pciexbar_write(refused[i], length << 1 | 1);
			CHECK(!(pci_read(HOST_BRIDGE, PCIEXBAR) & 1));
		}
	}
	/* Enabled first, moved then: byte by byte. */
	pciexbar_write(0xE0000000, 1);
	EQUAL(pci_read(HOST_BRIDGE, PCIEXBAR), 0xE0000001);
	io_out(PCI_ADDRESS, 4, 0x80000000 | HOST_BRIDGE << 8 | (PCIEXBAR + 4));
	io_out(PCI_DATA, 1, 1);
	io_out(PCI_ADDRESS, 4, 0x80000000 | HOST_BRIDGE << 8 | PCIEXBAR);
	io_out(PCI_DATA + 3, 1, 0);
	io_out(PCI_DATA + 2, 2, 0xF000);
	EQUAL(pci_read(HOST_BRIDGE, PCIEXBAR), 0xE0000001);
	EQUAL(pci_read(HOST_BRIDGE, PCIEXBAR + 4), 0);
	pciexbar_write(0xB0000000, 0);
}

TEST(mmconfig_is_guarded_as_the_ports_are, ALL)
{
	pciexbar_write(0xE0000000, 1);
	EQUAL(mmio_in(0xE0000000, 4), HOST_BRIDGE_ID);
	EQUAL(mmio_in(0xE0000000 | LPC << 12, 2), 0x8086);
	mmio_out(0xE0000000 + PCIEXBAR + 4, 4, 1); /* 1E0000000 */
	mmio_out(0xE0000000 + PCIEXBAR, 4, 0x00000001);
	EQUAL(mmio_in(0xE0000000 + PCIEXBAR, 4), 0xE0000001);
	EQUAL(mmio_in(0xE0000000 + PCIEXBAR + 4, 4), 0);
	mmio_out(0xE0000000 | LPC << 12 | RCBA, 4, 0xFFFFC001);
	EQUAL(mmio_in(0xE0000000 | LPC << 12 | RCBA, 4) & 1, 0);
	mmio_out(0xE0000000 + PCIEXBAR, 4, 0xC0000001); /* a free place */
	EQUAL(mmio_in(0xC0000000, 4), HOST_BRIDGE_ID);
	mmio_out(0xC0000000 + PCIEXBAR, 4, 0x00000001);
	EQUAL(mmio_in(0xC0000000 + PCIEXBAR, 4), 0xC0000001);
	pciexbar_write(0xB0000000, 0);
}

TEST(windows_of_the_lpc_bridge_stay_where_nothing_else_is, ALL)
{
	static const u32 refused[] = { 0xFFFFC001, 0xFEE00001, 0xFEC00001, 0x00100001, 0x00000001 };

	for (u32 i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		pci_write(LPC, RCBA, refused[i]);
		CHECK(!(pci_read(LPC, RCBA) & 1));
	}
	pci_write(LPC, RCBA, 0xFED1C001);
	EQUAL(pci_read(LPC, RCBA), 0xFED1C001);
	pci_write(LPC, RCBA, 0);
	pci_write(LPC, PMBASE, 0xCF1); /* rounds down to C80: its SMI_EN over CB0, its TCO over CE0-CFF */
	pci_write(LPC, PMBASE, 0x501); /* over the fw_cfg device */
	CHECK((pci_read(LPC, PMBASE) & 0xFF80) == 0 || (pci_read(LPC, PMBASE) & 0xFF80) == 0x600);
	pci_write(LPC, PMBASE, 0x601);
	EQUAL(pci_read(LPC, PMBASE) & 0xFF80, 0x600);
}

/* A write to FEE00000-FEEFFFFF is an MSI for QEMU's APIC, also when a processor makes it. */
TEST(messages_of_the_processor_reach_nobody, ALL)
{
	static const u32 modes[] = { 0x4500, 0x4600, 0x4200, 0x4400, 0x4051 };

	for (u32 i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		mmio_out(0xFEE01000, 4, modes[i]);
		mmio_out(0xFEEFF000, 4, modes[i]);
		mmio_out(0xFEE10004, 4, modes[i]);
	}
	EQUAL((u32)mmio_in(0xFEE01000, 4), ~0u);
}

TEST(hpet_sends_no_messages, ALL)
{
	mmio_out(HPET_BASE + HPET_CONFIG, 4, 0);
	mmio_out(HPET_BASE + HPET_COUNTER, 8, 0);
	mmio_out(HPET_BASE + HPET_TIMERS + 0x10, 4, 0x4500);
	mmio_out(HPET_BASE + HPET_TIMERS + 0x14, 4, 0xFEE00000);
	mmio_out(HPET_BASE + HPET_TIMERS, 4, 0x4004);
	EQUAL(mmio_in(HPET_BASE + HPET_TIMERS, 4) & 0x4000, 0);
	mmio_out(HPET_BASE + HPET_TIMERS, 8, 0x4004);
	EQUAL(mmio_in(HPET_BASE + HPET_TIMERS, 4) & 0x4000, 0);
	mmio_out(HPET_BASE + HPET_TIMERS + 1, 1, 0x40);
	EQUAL(mmio_in(HPET_BASE + HPET_TIMERS, 4) & 0x4000, 0);
	hpet_off();
}

/* INIT would start the emulator again, SMI run this guest's memory outside nested paging. */
TEST(ioapic_sends_no_init_and_no_smi, ALL)
{
	hpet_route(APIC_DELIVER_INIT << APIC_LVT_DELIVERY_SHIFT);
	hpet_after_1_ms(HPET_ENABLE);
	delay_us(3000);
	hpet_off();
	hpet_route(APIC_DELIVER_SMI << APIC_LVT_DELIVERY_SHIFT);
	hpet_after_1_ms(HPET_ENABLE);
	delay_us(3000);
	hpet_off();
	/* The device decodes eight bits of an address, and takes any width for the index. */
	mmio_out(0xFEC00100, 4, 0x10 + 2 * HPET_GSI);
	mmio_out(0xFEC00110, 4, APIC_DELIVER_INIT << APIC_LVT_DELIVERY_SHIFT);
	hpet_after_1_ms(HPET_ENABLE);
	delay_us(3000);
	hpet_off();
	mmio_out(0xFEC00000, 4, 0);
	mmio_out(0xFEBFFFFF, 2, (0x10 + 2 * HPET_GSI) << 8);
	mmio_out(0xFEC00010, 4, APIC_DELIVER_INIT << APIC_LVT_DELIVERY_SHIFT);
	hpet_after_1_ms(HPET_ENABLE);
	delay_us(3000);
	hpet_off();
}

TEST(ports_raise_no_smi, ALL)
{
	io_out(0xB2, 1, 0x55);
	io_out(0xB2, 2, 0x5555);
	pci_write(LPC, PMBASE, 0x601);
	pci_write(LPC, ACPI_CONTROL, 0x80);
	io_out(SMI_ENABLE, 4, 0x6061);
	EQUAL(io_in(SMI_ENABLE, 4) & 0x6040, 0);
	io_out(SMI_ENABLE + 1, 1, 0x20);
	EQUAL(io_in(SMI_ENABLE, 4) & 0x6040, 0);
	io_out(TCO + 0x12, 2, 4); /* TCO_TMR: 2.4 s */
	io_out(TCO, 2, 1);
	io_out(TCO + 8, 2, 0);
	EQUAL(io_in(TCO + 0x12, 2), 4); /* as after reset */
}

TEST(a20_stays_on, ALL)
{
	io_out(0x92, 1, 0);
	EQUAL(io_in(0x92, 1) & 2, 2);
	io_out(0x64, 1, 0xD1);
	io_out(0x60, 1, 0xDD);
	io_out(0x64, 1, 0xDD);
	EQUAL(io_in(0x64, 1), 0xFF);
}

TEST(isa_dma_is_not_there, ALL)
{
	io_out(0x00, 1, 0x55);
	EQUAL(io_in(0x00, 1), 0xFF);
	EQUAL(io_in(0xC0, 1), 0xFF);
}

/* kvmvapic, whose writes set addresses that it patches; vmport, which writes registers of the processor. */
TEST(devices_that_write_elsewhere_are_not_there, ALL)
{
	EQUAL(io_in(0x7E, 2), 0xFFFF);
	EQUAL(io_in(0x5658, 4), ~0u);
}

/* QEMU: PCI memory has less priority than RAM, DIMMs, the APICs and the HPET. */
TEST(bars_cover_nothing_else, ALL)
{
	static const u32 places[] = { 0xFEC00000, 0xFED00000, 0xFEE00000, LARGE_AREA };
	const u32 ahci = 0xFA; /* 00:1f.2 */
	u32 period = (u32)mmio_in(HPET_BASE + HPET_CAPABILITIES + 4, 4);
	u64 version;

	EQUAL(pci_read(ahci, 8) >> 16, 0x0106);
	pci_write(ahci, 4, 2); /* memory space on */
	for (u32 i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		pci_write(ahci, 0x24, places[i]);
		EQUAL(pci_read(ahci, 0x24), places[i]);
		EQUAL((u32)mmio_in(HPET_BASE + HPET_CAPABILITIES + 4, 4), period);
		mmio_out(0xFEC00000, 4, 1);
		EQUAL(mmio_in(0xFEC00010, 4) & 0xFF0000, 0x170000); /* 24 entries */
		apic_set_mode(APIC_BASE_EN);
		version = mmio_in(APIC_DEFAULT_BASE + APIC_VERSION, 4);
		EQUAL(version, 0x50014);
	}
	pci_write(ahci, 4, 0);
	pci_write(ahci, 0x24, 0);
}

TEST(nothing_is_ejected, ALL)
{
	io_out(0xA00, 4, 0); /* the emulator's own DIMM */
	io_out(0xA14, 1, 0x08);
	io_out(0xA14, 4, 0x08);
	io_out(0xCC0 + 0x10, 4, 0);
	io_out(0xCC0 + 8, 4, ~0u);
	io_out(0xCD8, 4, 1);
	io_out(0xCDC, 1, 0x08);
	EQUAL(pci_read(LPC, 0) & 0xFFFF, 0x8086);
}

TEST(fw_cfg_dma_reaches_shared_pages_only, ALL)
{
	volatile u8 *shared = (volatile u8 *)(u64)(sev() ? BUFFER_PAGE + 0x800 : TEST_AREA + 0x20000);
	volatile u8 *own = (volatile u8 *)(CODE); /* private with SEV */
	u8 first = own[0];

	shared[4] = 0x5A;
	EQUAL(fw_cfg_dma(FW_CFG_SELECT | FW_CFG_READ, 4, (u64)shared), 0);
	CHECK(shared[0] == 'Q' && shared[1] == 'E' && shared[2] == 'M' && shared[3] == 'U' && shared[4] == 0x5A);
	EQUAL(fw_cfg_dma(FW_CFG_READ, 2, (u64)shared), 0); /* the item is at its end: zeros */
	CHECK(shared[0] == 0 && shared[1] == 0 && shared[2] == 'M');
	EQUAL(fw_cfg_dma(FW_CFG_SELECT | FW_CFG_SKIP, 1, 0), 0);
	EQUAL(fw_cfg_dma(FW_CFG_READ, 2, (u64)shared), 0);
	CHECK(shared[0] == 'E' && shared[1] == 'M');
	EQUAL(fw_cfg_dma(FW_CFG_SELECT | FW_CFG_WRITE, 4, (u64)shared), 1); /* a signature cannot be written */
	if (sev()) {
		fw_cfg_dma(FW_CFG_SELECT | FW_CFG_READ, 4, (u64)own);
		EQUAL(own[0], first);
	}
	/* The emulator's memory, its APIC, an address that nobody has. */
	EQUAL(fw_cfg_dma(FW_CFG_SELECT | FW_CFG_READ, 0x20000, 0x100000000), 0);
	EQUAL(fw_cfg_dma(FW_CFG_SELECT | FW_CFG_READ, 4, 0xFEE01000), 0);
	EQUAL(fw_cfg_dma(FW_CFG_SELECT | FW_CFG_READ, 4, ~0ull - 1), 0);
}

#define UNUSED_MEMORY 0x100000
#define RAM_END       0x8000000

/*
 * An I/O BAR covers the port of the high half of a DMA command's address, and not that of the low half. The device then has
 * the low half alone of the address of the hypervisor's own command: if that is in guest RAM, it does what the guest wrote.
 */
TEST(fw_cfg_dma_with_half_an_address_is_not_the_guest_s, PLAIN)
{
	volatile a32 *target = (volatile a32 *)(TEST_AREA + 0x22000);

	*target = 0x5A;
	for (u64 page = UNUSED_MEMORY; page < RAM_END; page += PAGE_SIZE) {
		if (page == SEC_MEMORY)
			page = LARGE_AREA; /* in use */
		*(volatile a32 *)page = __builtin_bswap32(FW_CFG_SELECT | FW_CFG_READ);
		*(volatile a32 *)(page + 4) = __builtin_bswap32(4);
		*(volatile a64 *)(page + 8) = __builtin_bswap64((u64)target);
	}
	pci_write(SERIAL, 0x10, 0x510);
	pci_write(SERIAL, 4, 1);
	fw_cfg_dma(FW_CFG_SELECT | FW_CFG_SKIP, 0, 0);
	pci_write(SERIAL, 4, 0);
	EQUAL(*target, 0x5A);
	EQUAL(fw_cfg_dma(FW_CFG_SELECT | FW_CFG_READ, 4, (u64)target), 0);
	EQUAL(*target, 0x554D4551); /* "QEMU" */
}

#define ECAM 0xE0000000

static void host_bridge_byte(u32 offset, u8 value)
{
	io_out(PCI_ADDRESS, 4, 0x80000000 | HOST_BRIDGE << 8 | (offset & ~3u));
	io_out(PCI_DATA + (offset & 3), 1, value);
}

/* Eight ports over both registers, and over the second alone. MMCONFIG is guarded as before. */
TEST(an_io_bar_over_the_configuration_ports_opens_no_window, ALL)
{
	pciexbar_write(ECAM, 1);
	mmio_out(ECAM | SERIAL << 12 | 0x10, 4, PCI_ADDRESS);
	mmio_out(ECAM | SERIAL << 12 | 4, 2, 1);
	io_out(PCI_ADDRESS, 4, 0x80000000 | HOST_BRIDGE << 8 | (PCIEXBAR + 4));
	io_out(PCI_DATA, 4, 1);
	io_out(PCI_ADDRESS, 4, 0x80000000 | HOST_BRIDGE << 8 | PCIEXBAR);
	io_out(PCI_DATA, 4, 1);
	io_out(PCI_ADDRESS + 2, 4, 0x00010000); /* crosses to the data port */
	io_out(PCI_DATA + 2, 4, 0);
	EQUAL(mmio_in(ECAM + PCIEXBAR, 4), ECAM | 1);
	EQUAL(mmio_in(ECAM + PCIEXBAR + 4, 4), 0);
	mmio_out(ECAM + PCIEXBAR + 4, 4, 1);
	EQUAL(mmio_in(ECAM + PCIEXBAR + 4, 4), 0);
	mmio_out(ECAM | SERIAL << 12 | 4, 2, 0);
	EQUAL(pci_read(HOST_BRIDGE, 0), HOST_BRIDGE_ID);
	EQUAL(pci_read(HOST_BRIDGE, PCIEXBAR), ECAM | 1);
	pciexbar_write(0xB0000000, 0);
}

#define HOST_BRIDGE_SMBASE 0x9Cu /* QEMU hw/pci-host/q35.c: queried, then locked, the 128 KiB at 30000 are SMM's */
#define SMRAM              0x9Du /* 82G35 5.1.24: open, enabled */
#define ESMRAMC            0x9Eu /* 5.1.25: TSEG */

/* An SMI afterwards is in test_dma.c. */
TEST(smram_covers_nothing_that_is_used, ALL)
{
	host_bridge_byte(HOST_BRIDGE_SMBASE, 0xFF);
	host_bridge_byte(HOST_BRIDGE_SMBASE, 0x01);
	host_bridge_byte(HOST_BRIDGE_SMBASE, 0x02);
	host_bridge_byte(SMRAM, 0x4A);
	host_bridge_byte(ESMRAMC, 0x01);
	for (u32 pam = 0x90; pam <= 0x96; pam++)
		host_bridge_byte(pam, 0x33);
	EQUAL(pci_read(HOST_BRIDGE, 0), HOST_BRIDGE_ID);
	apic_set_mode(APIC_BASE_EN);
	EQUAL(mmio_in(APIC_DEFAULT_BASE + APIC_VERSION, 4), 0x50014);
	host_bridge_byte(ESMRAMC, 0);
	host_bridge_byte(SMRAM, 0x0A);
}

/* DR0-3 are the processor's: a watchpoint at the emulator's linear addresses does not fire in it. */
TEST(watchpoints_do_not_fire_in_the_emulator, ALL)
{
	const u64 dr7 = 0x400 | 0xFC | 0xFDD0ull << 16; /* DR1, DR2: writes of 4 bytes; DR3: accesses */
	bool armed;

	__asm__ volatile("mov %0, %%db1" : : "r"(0xFFFFFFFF80020000));
	__asm__ volatile("mov %0, %%db2" : : "r"(0x108200010)); /* head of the log */
	__asm__ volatile("mov %0, %%db3" : : "r"(0x108201000)); /* its first record */
	armed = TRY("mov %%rax, %%db7", OUT(), "a"(dr7)) == NO_TRAP; /* else it is a #VC */
	for (u32 i = 0; i < 20; i++) {
		io_out(0xCF8, 4, i << 2);
		apic_set_mode(APIC_BASE_EN);
	}
	if (armed)
		__asm__ volatile("mov %0, %%db7" : : "r"(0x400ull));
}

TEST(svm_registers_are_out_of_reach, ALL)
{
	static const u32 hidden[] = { 0xC0010117 /* VM_HSAVE_PA */, 0xC0010114 /* VM_CR */, 0xC0010111 /* SMBASE */, 0x9E /* SMBASE of Intel */ };
	u64 value;

	for (u32 i = 0; i < 2; i++) {
		CHECK(!msr_in(hidden[i], &value));
		CHECK(!msr_out(hidden[i], 0x100000));
	}
	for (u32 i = 2; i < sizeof(hidden) / sizeof(hidden[0]); i++) {
		msr_in(hidden[i], &value);
		msr_out(hidden[i], 0x100000);
	}
	EQUAL(TRY("invlpga %%rax, %%ecx", OUT(), "a"(0), "c"(0)), 6);
	EQUAL(TRY("rsm", OUT(), "a"(0)), 6);
}

/* Those that VMRUN does not switch are the emulator's as well. The APIC's and SEV's have tests of their own. */
TEST(no_msr_stops_the_emulator, ALL)
{
	static const struct { u32 first, last; } ranges[] = { { 0x30, 0x4FF }, { 0xD00, 0xDFF }, { 0xC0000081, 0xC0000110 }, { 0xC0010000, 0xC001012F } };

	for (u32 i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
		for (u32 msr = ranges[i].first; msr <= ranges[i].last; msr++) {
			u64 before = 0;

			if (!msr_in(msr, &before))
				continue;
			msr_out(msr, before ^ 1);
			msr_out(msr, ~before);
			msr_out(msr, before);
		}
	}
	apic_set_mode(APIC_BASE_EN);
	EQUAL(mmio_in(APIC_DEFAULT_BASE + APIC_VERSION, 4), 0x50014);
}
