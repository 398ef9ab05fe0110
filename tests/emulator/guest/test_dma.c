/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a device's DMA reaches. */
#include "edu.h"
#include "guest.h"

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
