/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "memory_map.h"

static bool page_multiple(u64 value)
{
	return (value & (PAGE_SIZE - 1)) == 0;
}

static bool overlaps(u64 start, u64 end, u64 other_start, u64 other_end)
{
	return start < other_end && other_start < end;
}

static bool add_region(struct memory_map *map, u64 gpa, u64 size)
{
	if (size == 0)
		return true;
	if (!page_multiple(gpa) || !page_multiple(size) || gpa > MEMORY_VIEW_END || size > MEMORY_VIEW_END - gpa)
		return false;
	if (overlaps(gpa, gpa + size, map->svsm_start, map->svsm_end))
		return false;
	map->region[map->count++] = (struct svsm_region){ .gpa = gpa, .size = size };
	return true;
}

bool memory_map_init(struct memory_map *map, const struct svsm_boot *boot)
{
	*map = (struct memory_map){ 0 };
	if (!page_multiple(boot->base) || !page_multiple(boot->memory_size) || boot->memory_size == 0 ||
	    boot->base > MEMORY_VIEW_END || boot->memory_size > MEMORY_VIEW_END - boot->base)
		return false;
	map->svsm_start = boot->base;
	map->svsm_end = boot->base + boot->memory_size;

	if (boot->ram_low > MEMORY_4G || boot->regions > SVSM_BOOT_REGIONS)
		return false;
	if (!add_region(map, 0, boot->ram_low) || !add_region(map, MEMORY_4G, boot->ram_high))
		return false;
	for (u32 i = 0; i < boot->regions; i++)
		if (!add_region(map, boot->region[i].gpa, boot->region[i].size))
			return false;
	return true;
}

bool memory_is_guest(const struct memory_map *map, u64 gpa, u64 size)
{
	u64 end = gpa + size;
	u64 covered = gpa;
	bool advanced = true;

	if (size == 0 || end < gpa || overlaps(gpa, end, map->svsm_start, map->svsm_end))
		return false;
	/* Adjacent regions may share the range: walk from one region's end to the next. */
	while (covered < end && advanced) {
		advanced = false;
		for (u32 i = 0; i < map->count; i++) {
			const struct svsm_region *region = &map->region[i];

			if (covered >= region->gpa && covered - region->gpa < region->size) {
				covered = region->gpa + region->size;
				advanced = true;
			}
		}
	}
	return covered >= end;
}

bool memory_is_writable(u64 gpa, u64 size)
{
	return !overlaps(gpa, gpa + size, MEMORY_ISA_START, MEMORY_ISA_END);
}
