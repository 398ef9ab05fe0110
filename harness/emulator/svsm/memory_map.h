/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which guest-physical addresses belong to the guest. Pure: no hardware.
 */
#ifndef SVSM_MEMORY_MAP_H
#define SVSM_MEMORY_MAP_H

#include "svsm_boot.h"

#define MEMORY_4G       0x100000000ull
#define MEMORY_VIEW_END 0x8000000000ull /* the host's page tables map GPA 0-512 GiB */
/* Legacy VGA and ROM range: may be mapped read only, so it is never written (COCONUT writable_phys_addr). */
#define MEMORY_ISA_START 0xA0000ull
#define MEMORY_ISA_END   0x100000ull

#define MEMORY_RANGES 8 /* of RAM */

struct memory_map {
	u64 svsm_start;
	u64 svsm_end;
	u32 ranges; /* of RAM, the first ones; it may hold the SVSM's memory */
	u32 count;
	struct svsm_region region[MEMORY_RANGES + SVSM_BOOT_REGIONS];
};

/* Fills the map from the boot block and the loader's memory map. False: they are inconsistent. */
bool memory_map_init(struct memory_map *map, const struct svsm_boot *boot, const struct svsm_map_entry *entry);

/* Bytes of the loader's memory from `start` to `end`. */
u64 memory_bytes(const struct memory_map *map, u64 start, u64 end);

/* Whether all of [gpa, gpa + size) is guest memory and none of it is the SVSM's. False for size 0. */
bool memory_is_guest(const struct memory_map *map, u64 gpa, u64 size);

/* Whether the SVSM may write [gpa, gpa + size): not if it overlaps the ISA range. */
bool memory_is_writable(u64 gpa, u64 size);

#endif
