/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guest memory: which GPAs have RAM behind them, and where. */
#include "cpu.h"
#include "host.h"
#include "layout.h"

#define LEGACY_HOLE 0xA0000ull  /* VGA: MMIO */
#define LEGACY_ROMS 0xC0000ull  /* option ROMs and the firmware's alias: RAM of our own, so that the host's image stays hidden */
#define ONE_MIB     0x100000ull
#define FOUR_GIB    0x100000000ull
#define ROM_ALIAS   0x20000ull  /* the last 128 KiB of the firmware appear below 1 MiB */

static void add_region(struct host *host, u64 gpa, u64 size, u64 hpa, u64 shared_hpa)
{
	struct region *region = &host->region[host->regions];

	if (!size)
		return;
	host_assert(&host->vcpu[0], host->regions < HOST_MAX_REGIONS, "too many memory regions", __LINE__);
	*region = (struct region){ .gpa = gpa, .size = size, .hpa = hpa, .shared_hpa = shared_hpa };
	region->rmp = host_alloc(host, size / PAGE_SIZE * sizeof(u32), PAGE_SIZE);
	host->regions++;
}

static u64 copy_of_firmware(struct host *host)
{
	const struct host_config *config = host->config;
	void *copy = host_alloc(host, config->fw_size, PAGE_SIZE_2M);

	/* Equal offsets in the 2 MiB page let the firmware be mapped with large pages. */
	memcpy(copy, (const void *)config->fw_rom, config->fw_size);
	return (u64)copy;
}

void memory_setup(struct host *host)
{
	const struct host_config *config = host->config;
	u64 firmware = copy_of_firmware(host);
	u64 legacy = (u64)host_alloc(host, ONE_MIB - LEGACY_ROMS, PAGE_SIZE);
	u64 alias = config->fw_size < ROM_ALIAS ? config->fw_size : ROM_ALIAS;

	memcpy((void *)(legacy + ONE_MIB - LEGACY_ROMS - alias),
	       (const void *)(firmware + config->fw_size - alias), alias);
	add_region(host, 0, LEGACY_HOLE, 0, 0);
	add_region(host, LEGACY_ROMS, ONE_MIB - LEGACY_ROMS, legacy, legacy);
	add_region(host, ONE_MIB, config->ram_low - ONE_MIB, ONE_MIB, ONE_MIB);
	add_region(host, FOUR_GIB, config->ram_high, FOUR_GIB, FOUR_GIB);
	/*
	 * A private page of the firmware that is accessed with C=0 shows the image as QEMU loaded it:
	 * on a real host the shared backing of the ROM's memory still has it.
	 */
	add_region(host, FOUR_GIB - config->fw_size, config->fw_size, firmware,
		   host->sev ? copy_of_firmware(host) : firmware);
	if (config->svsm_size) {
		u64 memory = (u64)host_alloc(host, config->svsm_memory, PAGE_SIZE_2M);

		memcpy((void *)memory, (const void *)config->svsm_rom, config->svsm_size);
		add_region(host, config->svsm_gpa, config->svsm_memory, memory, memory);
	}
	host->scratch_page = (u64)host_alloc(host, PAGE_SIZE, PAGE_SIZE);
	memset((void *)host->scratch_page, 0xFF, PAGE_SIZE);
}

struct region *memory_region(struct host *host, u64 gpa)
{
	for (u32 i = 0; i < host->regions; i++) {
		struct region *region = &host->region[i];

		if (gpa - region->gpa < region->size)
			return region;
	}
	return NULL;
}

static struct region *region_with(struct host *host, u64 gpa, u64 size)
{
	struct region *region = memory_region(host, gpa);

	if (!region || size > region->size || gpa - region->gpa > region->size - size)
		return NULL;
	return region;
}

u8 *memory_private(struct host *host, u64 gpa, u64 size)
{
	struct region *region = region_with(host, gpa, size);

	return region ? (u8 *)(PHYSICAL_WINDOW + region->hpa + (gpa - region->gpa)) : NULL;
}

u8 *memory_shared(struct host *host, u64 gpa, u64 size)
{
	struct region *region = region_with(host, gpa, size);

	if (!region || !size)
		return NULL;
	for (u64 page = gpa & ~(PAGE_SIZE - 1); page < gpa + size; page += PAGE_SIZE) {
		if (!rmp_is_shared(host, page))
			return NULL;
	}
	return (u8 *)(PHYSICAL_WINDOW + region->shared_hpa + (gpa - region->gpa));
}
