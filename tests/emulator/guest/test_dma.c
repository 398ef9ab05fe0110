/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a device's DMA reaches. */
#include "apic_access.h"
#include "edu.h"
#include "guest.h"
#include "reach.h"

#define PATTERN 0x5AFEC0DEF00DBEEFull
#define SHARED  ((volatile a64 *)(BUFFER_PAGE + 0x800))
#define FETCHED ((volatile a64 *)(BUFFER_PAGE + 0x900))

/* The first 8 bytes that the device reads at an address. */
static u64 device_reads(u64 gpa)
{
	*FETCHED = ~0ull;
	edu_load(gpa, 8);
	edu_store((u64)FETCHED, 8);
	return *FETCHED;
}

/* The device writes PATTERN there. */
static void device_writes(u64 gpa)
{
	*SHARED = PATTERN;
	edu_load((u64)SHARED, 8);
	edu_store(gpa, 8);
}

TEST(dma_of_shared_memory, ALL)
{
	edu_setup();
	*SHARED = PATTERN;
	EQUAL(device_reads((u64)SHARED), PATTERN);
	SHARED[1] = 0;
	device_writes((u64)&SHARED[1]);
	EQUAL(SHARED[1], PATTERN);
}

TEST(dma_of_low_memory, PLAIN) /* the guest's first 640 KiB are elsewhere in QEMU's memory */
{
	volatile a64 *low = (volatile a64 *)0x38000;

	edu_setup();
	*low = PATTERN + 1;
	EQUAL(device_reads((u64)low), PATTERN + 1);
	device_writes((u64)low);
	EQUAL(*low, PATTERN);
}

static volatile u64 private = PATTERN + 2;

TEST(dma_of_private_memory, SEV)
{
	edu_setup();
	EQUAL(device_reads((u64)&private), 0);
	device_writes((u64)&private);
	EQUAL(private, PATTERN + 2);
}

/* QEMU's IOMMU keeps the translation that the device has used: it is invalidated when the page is the guest's again. */
TEST(dma_of_memory_that_becomes_private, SEV)
{
	u64 page = TEST_AREA + 0x2E000;
	volatile a64 *shared_view = map_page(TEST_AREA + 0x11000, page, false), *own = (volatile a64 *)page;

	edu_setup();
	for (u32 i = 0; i < 2; i++) {
		CHECK(make_shared(page));
		*shared_view = PATTERN + 3;
		EQUAL(device_reads(page), PATTERN + 3);
		device_writes(page);
		EQUAL(*shared_view, PATTERN);
		CHECK(make_private(page));
		*own = PATTERN + 4;
		EQUAL(device_reads(page), 0);
		device_writes(page);
		EQUAL(*own, PATTERN + 4);
	}
}

/* The hypervisor's memory, its log, its image, its IOMMU. The run goes on, and its log is whole. */
TEST(dma_of_the_hypervisor, ALL)
{
	static const u64 hidden[] = { 0x100000000, 0x108200000, 0xFFFFF000, 0xFED90020 };

	edu_setup();
	for (u32 i = 0; i < sizeof(hidden) / sizeof(hidden[0]); i++) {
		if (hidden[i] < 0xFFF00000 || hidden[i] >= 0x100000000)
			EQUAL(device_reads(hidden[i]), 0);
		device_writes(hidden[i]);
	}
	EQUAL(device_reads((u64)SHARED), PATTERN);
}

static bool message(u32 apic_id, u32 data)
{
	edu_begin_message(apic_id, false, data);
	while (!edu_is_done())
		pause();
	return true;
}

TEST(a_message_interrupts, ALL)
{
	edu_setup();
	apic_prepare(MODE_BITS);
	message(0, 0x61);
	EQUAL(apic_read(APIC_IRR + 0x30), 2);
	sti();
	CHECK(wait_until(&interrupts[0x61], 1, 1000));
	cli();
	apic_write(APIC_EOI, 0);
}

#define HOST_BRIDGE_SMBASE 0x9C

/* QEMU delivers vectors below 16, too: they must not end in the emulator's handlers of exceptions. A guest takes none. */
TEST(messages_with_vectors_of_exceptions, ALL)
{
	static const u32 data[] = { 0x00, 0x08, 0x0D, 0x0E, 0x700 | 0x0E, 0x100 | 0x0E };

	edu_setup();
	apic_prepare(MODE_BITS);
	for (u32 i = 0; i < sizeof(data) / sizeof(data[0]); i++)
		message(0, data[i]);
	*SHARED = PATTERN;
	EQUAL(device_reads((u64)SHARED), PATTERN);
}

/* Neither while the guest runs nor while its processor sleeps: there is no SMM. */
TEST(an_smi_does_nothing, ALL)
{
	/* QEMU hw/pci-host/q35.c: queried, then locked, the 128 KiB at 30000 are SMM's. */
	for (u32 i = 0; i < 2; i++) {
		io_out(PCI_ADDRESS, 4, 0x80000000 | HOST_BRIDGE << 8 | HOST_BRIDGE_SMBASE);
		io_out(PCI_DATA, 1, i ? 0x02 : 0xFF);
	}
	edu_setup();
	apic_prepare(MODE_BITS);
	message(0, APIC_DELIVER_SMI << APIC_LVT_DELIVERY_SHIFT);
	edu_begin_message(0, false, APIC_DELIVER_SMI << APIC_LVT_DELIVERY_SHIFT);
	apic_write(APIC_TIMER_DIVIDE, 0xB);
	apic_write(APIC_LVT_TIMER, 0x62);
	while (!edu_is_done()) {
		apic_write(APIC_TIMER_INITIAL, 20000000);
		halt_once();
		apic_write(APIC_EOI, 0);
	}
	apic_write(APIC_LVT_TIMER, APIC_LVT_MASKED);
}

#define FILE_DIRECTORY 0x19u /* of fw_cfg: a count, then files; big endian (QEMU's docs/specs/fw_cfg.rst) */

struct file {
	a32 size;
	u16 item;
	u16 reserved;
	char name[56];
};

static u32 swap32(u32 value) { return __builtin_bswap32(value); }

/* "DMAR" would be the table of the hypervisor's IOMMU. */
TEST(no_acpi_table_names_the_iommu, PLAIN)
{
	static const char tables[] = "etc/acpi/tables";
	const struct file *file = (const struct file *)(LARGE_AREA + 4);
	const u8 *text = (const u8 *)LARGE_AREA;
	u32 madt = 0, dmar = 0, size;

	EQUAL(fw_cfg_dma(FILE_DIRECTORY << 16 | FW_CFG_SELECT | FW_CFG_READ, PAGE_SIZE, LARGE_AREA), 0);
	for (u32 i = 0; i < 63; i++, file++) {
		u32 at = 0;

		while (tables[at] && file->name[at] == tables[at])
			at++;
		if (!tables[at])
			break;
	}
	size = swap32(file->size);
	EQUAL(fw_cfg_dma((u32)__builtin_bswap16(file->item) << 16 | FW_CFG_SELECT | FW_CFG_READ, size, LARGE_AREA), 0);
	for (u32 i = 0; i + 4 <= size; i++) {
		madt += *(const a32 *)(text + i) == 0x43495041; /* "APIC" */
		dmar += *(const a32 *)(text + i) == 0x52414D44;
	}
	EQUAL(madt, 1);
	EQUAL(dmar, 0);
}
