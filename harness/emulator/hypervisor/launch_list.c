/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "launch_list.h"

const struct launch_list *launch_list(const struct hypervisor *hv) { return (const struct launch_list *)hv->config->launch_base; }

u64 launch_list_spa(const struct hypervisor *hv, const struct launch_entry *entry, enum launch_copy copy)
{
	return hv->config->launch_base + copy * hv->config->launch_size + entry->offset;
}

u8 *launch_list_data(const struct hypervisor *hv, const struct launch_entry *entry)
{
	return (u8 *)launch_list_spa(hv, entry, LAUNCH_KEPT);
}

static bool is_inside(const struct launch_list *list, const struct launch_entry *entry)
{
	u64 pages = list->size / PAGE_SIZE;

	return !(entry->offset & (PAGE_SIZE - 1)) && entry->pages <= pages && entry->offset / PAGE_SIZE <= pages - entry->pages;
}

static bool is_sound(const struct hypervisor *hv, const struct launch_entry *entry)
{
	u64 frames = BIT(52) / PAGE_SIZE;

	if ((entry->gpa & (PAGE_SIZE - 1)) || !entry->pages || entry->pages > frames || entry->gpa / PAGE_SIZE > frames - entry->pages)
		return false;
	switch (entry->kind) {
	case LAUNCH_MEMORY:
		return !entry->offset;
	case LAUNCH_FIRMWARE:
		return entry->offset && entry->gpa + entry->pages * PAGE_SIZE == FOUR_GIB;
	case PSP_PAGE_NORMAL:
		return entry->offset;
	case PSP_PAGE_VMSA:
		return entry->offset && entry->pages == 1 && entry->vcpu < hv->config->vcpus;
	default:
		return entry->kind >= PSP_PAGE_NORMAL && entry->kind <= LAUNCH_PAGES_LAST;
	}
}

void launch_list_check(struct hypervisor *hv)
{
	const struct launch_list *list = launch_list(hv);
	struct hw_cpu *cpu = hv->vcpu[0].cpu;
	u64 room = hv->config->launch_size - sizeof(*list);

	if (list->magic != LAUNCH_MAGIC || list->size != hv->config->launch_size || list->entries > room / sizeof(list->entry[0]))
		hw_stop(cpu, RECORD_END_CONFIG, offsetof(struct host_config, launch_base), list->size);
	for (u64 i = 0; i < list->entries; i++) {
		if ((list->entry[i].offset && !is_inside(list, &list->entry[i])) ||
		    !is_sound(hv, &list->entry[i]))
			hw_stop(cpu, RECORD_END_CONFIG, offsetof(struct host_config, launch_base), i);
	}
}
