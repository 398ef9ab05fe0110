/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "memory.h"
#include "bytes.h"
#include "launch_list.h"
#include "layout.h"

#define LEGACY_HOLE 0xA0000ull  /* VGA: MMIO */
#define LEGACY_ROMS 0xC0000ull  /* option ROMs and the firmware's alias: separate RAM that hides the emulator's image */
#define ONE_MIB     0x100000ull
#define REAL_MODE_STOP 0x500u   /* 0000:0500, above the vectors */
#define SMI_HANDLER 0x38000u    /* SMBASE after reset + 8000h */
#define ROM_ALIAS   0x20000ull  /* the last 128 KiB of the firmware appear below 1 MiB */

static void add_region(struct hypervisor *hv, u64 gpa, u64 size, u64 spa, u64 shared_spa)
{
	struct hw_slot *region = &hv->region[hv->regions];

	if (!size)
		return;
	if (hv->regions++ == HW_SLOTS)
		hw_fail(hv->vcpu[0].cpu, "too many memory regions", __LINE__);
	*region = (struct hw_slot){ .gpa = gpa, .size = size, .spa = spa, .shared_spa = shared_spa,
				    .nested = hw_take(hv->hw, size / PAGE_SIZE, PAGE_SIZE) };
	hw_slot_add(hv->hw, region);
}

/*
 * What lies in the first 640 KiB of QEMU's memory, which no guest reaches: its own are elsewhere. A device's INIT leaves
 * one of QEMU's processors in real mode, where an NMI goes through the vectors at 0, and an SMI makes any processor
 * execute at 38000h (APM vol. 2, 8.2.1 and 10.3.1).
 */
static void guard_real_mode(void)
{
	static const u8 stop[] = { 0xFA, 0xF4, 0xEB, 0xFD };   /* CLI; HLT; a jump to the HLT */
	static const u8 resume[] = { 0x0F, 0xAA };              /* RSM */

	for (u32 i = 0; i < 256; i++)
		((a32 *)PHYSICAL_WINDOW)[i] = REAL_MODE_STOP;
	memcpy((void *)(PHYSICAL_WINDOW + REAL_MODE_STOP), stop, sizeof(stop));
	memcpy((void *)(PHYSICAL_WINDOW + SMI_HANDLER), resume, sizeof(resume));
}

/*
 * A private page of the firmware that is accessed with C=0 shows the image as QEMU loaded it: on a real host the shared
 * memory of the ROM still holds it.
 */
static void add_firmware(struct hypervisor *hv, const struct launch_entry *entry, u64 legacy)
{
	u64 size = entry->pages * PAGE_SIZE, alias = size < ROM_ALIAS ? size : ROM_ALIAS;

	add_region(hv, entry->gpa, size, launch_list_spa(hv, entry, hv->snp ? LAUNCH_PRIVATE : LAUNCH_KEPT),
		   launch_list_spa(hv, entry, hv->snp ? LAUNCH_SHARED : LAUNCH_KEPT));
	memcpy((void *)(legacy + ONE_MIB - LEGACY_ROMS - alias), launch_list_data(hv, entry) + size - alias, alias);
}

static void add_memory(struct hypervisor *hv, const struct launch_entry *entry)
{
	u64 size = entry->pages * PAGE_SIZE, inside = entry->gpa & (PAGE_SIZE_2M - 1);
	u64 memory = (u64)hw_take(hv->hw, inside + size, PAGE_SIZE_2M) + inside; /* equal offsets allow large pages */

	add_region(hv, entry->gpa, size, memory, memory);
}

void memory_setup(struct hypervisor *hv)
{
	const struct host_config *config = hv->config;
	const struct launch_list *list = launch_list(hv);
	u64 low = (u64)hw_take(hv->hw, LEGACY_HOLE, PAGE_SIZE);
	u64 legacy = (u64)hw_take(hv->hw, ONE_MIB - LEGACY_ROMS, PAGE_SIZE);

	guard_real_mode();
	add_region(hv, 0, LEGACY_HOLE, low, low);
	add_region(hv, LEGACY_ROMS, ONE_MIB - LEGACY_ROMS, legacy, legacy);
	add_region(hv, ONE_MIB, config->ram_low - ONE_MIB, ONE_MIB, ONE_MIB);
	add_region(hv, FOUR_GIB, config->ram_high, FOUR_GIB, FOUR_GIB);
	for (u64 i = 0; i < list->entries; i++) {
		if (list->entry[i].kind == LAUNCH_FIRMWARE)
			add_firmware(hv, &list->entry[i], legacy);
		else if (list->entry[i].kind == LAUNCH_MEMORY)
			add_memory(hv, &list->entry[i]);
	}
	for (u32 i = 0; i < MMIO_STEP_PAGES; i++) {
		hv->step.page[i].shown = hw_take(hv->hw, PAGE_SIZE, PAGE_SIZE);
		hv->step.page[i].before = hw_take(hv->hw, PAGE_SIZE, PAGE_SIZE);
	}
	hv->guest_request = hw_take(hv->hw, PAGE_SIZE, PAGE_SIZE);
	hv->guest_response = hw_take(hv->hw, PAGE_SIZE, PAGE_SIZE);
	hv->scratch_page = (u64)hw_take(hv->hw, PAGE_SIZE, PAGE_SIZE);
	memset((void *)hv->scratch_page, 0xFF, PAGE_SIZE);
}

struct hw_slot *memory_region(struct hypervisor *hv, u64 gpa)
{
	for (u32 i = 0; i < hv->regions; i++) {
		struct hw_slot *region = &hv->region[i];

		if (gpa - region->gpa < region->size)
			return region;
	}
	return NULL;
}

static struct hw_slot *region_with(struct hypervisor *hv, u64 gpa, u64 size)
{
	struct hw_slot *region = memory_region(hv, gpa);

	if (!region || size > region->size || gpa - region->gpa > region->size - size)
		return NULL;
	return region;
}

u8 *memory_page(const struct hw_slot *region, u64 gpa) { return (u8 *)(PHYSICAL_WINDOW + hw_slot_spa(region, gpa, false)); }

bool memory_is_at(const u8 *memory, u64 spa) { return (u64)memory == PHYSICAL_WINDOW + spa; }

u8 *memory_launch(struct hypervisor *hv, u64 gpa, u64 size)
{
	struct hw_slot *region = region_with(hv, gpa, size);

	return region ? memory_page(region, gpa) : NULL;
}

u8 *memory_shared(struct hypervisor *hv, u64 gpa, u64 size)
{
	struct hw_slot *region = region_with(hv, gpa, size);

	if (!region || !size)
		return NULL;
	for (u64 page = gpa & ~(PAGE_SIZE - 1); page < gpa + size; page += PAGE_SIZE) {
		if ((*hw_slot_nested(region, page) & ~HW_UNMAPPED) != HW_SHARED)
			return NULL;
	}
	return (u8 *)(PHYSICAL_WINDOW + hw_slot_spa(region, gpa, true));
}
