/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmsa_registry.h"

#define PAGE_OF(gpa) ((gpa) & ~(PAGE_SIZE - 1))

struct vmsa_entry *registry_find(struct vmsa_registry *registry, u64 vmsa_gpa)
{
	for (u32 i = 0; i < VMSA_REGISTRY_SIZE; i++)
		if (registry->entry[i].vmsa_gpa == vmsa_gpa && vmsa_gpa != 0)
			return &registry->entry[i];
	return NULL;
}

bool registry_has_vmsa(const struct vmsa_registry *registry, u64 gpa, u64 size)
{
	for (u32 i = 0; i < VMSA_REGISTRY_SIZE; i++) {
		u64 vmsa_gpa = registry->entry[i].vmsa_gpa;

		if (vmsa_gpa != 0 && vmsa_gpa < gpa + size && gpa < vmsa_gpa + PAGE_SIZE)
			return true;
	}
	return false;
}

#define NO_VCPU (~0u)

/* The page is a VMSA, or the calling area of a vCPU other than `vcpu`: until its old VMSA is deleted, one has two. */
static bool page_in_use(const struct vmsa_registry *registry, u64 page, u32 vcpu)
{
	for (u32 i = 0; i < VMSA_REGISTRY_SIZE; i++) {
		const struct vmsa_entry *entry = &registry->entry[i];

		if (entry->vmsa_gpa == 0)
			continue;
		if (entry->vmsa_gpa == page || (entry->vcpu != vcpu && PAGE_OF(entry->caa_gpa) == page))
			return true;
	}
	return false;
}

enum registry_result registry_add(struct vmsa_registry *registry, struct vmsa_entry entry)
{
	if (entry.vmsa_gpa == PAGE_OF(entry.caa_gpa) || page_in_use(registry, entry.vmsa_gpa, NO_VCPU) ||
	    page_in_use(registry, PAGE_OF(entry.caa_gpa), entry.vcpu))
		return REGISTRY_CONFLICT;
	for (u32 i = 0; i < VMSA_REGISTRY_SIZE; i++) {
		if (registry->entry[i].vmsa_gpa == 0) {
			registry->entry[i] = entry;
			return REGISTRY_OK;
		}
	}
	return REGISTRY_FULL;
}

void registry_remove(struct vmsa_registry *registry, u64 vmsa_gpa)
{
	struct vmsa_entry *entry = registry_find(registry, vmsa_gpa);

	if (entry)
		*entry = (struct vmsa_entry){ 0 };
}

enum registry_result registry_move_caa(struct vmsa_registry *registry, u64 vmsa_gpa, u64 caa_gpa)
{
	struct vmsa_entry *entry = registry_find(registry, vmsa_gpa);

	if (!entry || page_in_use(registry, PAGE_OF(caa_gpa), entry->vcpu))
		return REGISTRY_CONFLICT;
	entry->caa_gpa = caa_gpa;
	return REGISTRY_OK;
}
