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
	map->region[map->count++] = (struct svsm_region){ .gpa = gpa, .size = size };
	return true;
}

static bool add_ram(struct memory_map *map, const struct svsm_map_entry *entry)
{
	u64 frames = MEMORY_VIEW_END / PAGE_SIZE;

	for (u32 i = 0; i < SVSM_MAP_ENTRIES && entry[i].pages; i++) {
		if (entry[i].type != SVSM_MAP_MEMORY)
			continue;
		if (map->ranges == MEMORY_RANGES || entry[i].first > frames || entry[i].pages > frames)
			return false;
		map->ranges++;
		if (!add_region(map, entry[i].first * PAGE_SIZE, entry[i].pages * PAGE_SIZE))
			return false;
	}
	return true;
}

bool memory_map_init(struct memory_map *map, const struct svsm_boot *boot, const struct svsm_map_entry *entry)
{
	*map = (struct memory_map){ 0 };
	if (!page_multiple(boot->base) || !page_multiple(boot->memory_size) || boot->memory_size == 0 ||
	    boot->base > MEMORY_VIEW_END || boot->memory_size > MEMORY_VIEW_END - boot->base)
		return false;
	map->svsm_start = boot->base;
	map->svsm_end = boot->base + boot->memory_size;

	if (boot->regions > SVSM_BOOT_REGIONS || !add_ram(map, entry))
		return false;
	for (u32 i = 0; i < boot->regions; i++) {
		const struct svsm_region *region = &boot->region[i];

		if (!add_region(map, region->gpa, region->size) ||
		    overlaps(region->gpa, region->gpa + region->size, map->svsm_start, map->svsm_end))
			return false;
	}
	return true;
}

u64 memory_bytes(const struct memory_map *map, u64 start, u64 end)
{
	u64 bytes = 0;

	for (u32 i = 0; i < map->ranges; i++) {
		u64 first = map->region[i].gpa > start ? map->region[i].gpa : start;
		u64 last = map->region[i].gpa + map->region[i].size;

		last = last < end ? last : end;
		bytes += first < last ? last - first : 0;
	}
	return bytes;
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
