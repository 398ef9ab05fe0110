/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The launch of the guest: each entry of the launch list is one SNP_LAUNCH_UPDATE, as for KVM, after its pages were
 * filled while they belong to the hypervisor.
 */
#include "loop.h"
#include "bytes.h"
#include "cpuid.h"
#include "kernel_hashes.h"
#include "launch_list.h"
#include "memory.h"
#include "pages.h"

static void refused(struct vcpu *vcpu, u64 entry)
{
	hw_stop(vcpu->cpu, RECORD_END_CONFIG, offsetof(struct host_config, launch_base), entry);
}

static void launch_vmsa(struct vcpu *vcpu, u64 number, const struct launch_entry *entry)
{
	struct vcpu *of = &vcpu->hv->vcpu[entry->vcpu];
	const struct hw_psp_command command = { .code = HW_PSP_LAUNCH_VMSA, .cpu = of->cpu,
						.contents = launch_list_data(vcpu->hv, entry) };

	if (hw_psp(vcpu->hv->hw, &command) != PSP_SUCCESS)
		refused(vcpu, number);
	of->launched = true;
}

static void launch_pages(struct vcpu *vcpu, u64 number, const struct launch_entry *entry)
{
	struct hypervisor *hv = vcpu->hv;
	u64 size = entry->pages * PAGE_SIZE;
	u8 *memory = memory_launch(hv, entry->gpa, size), *contents = entry->offset ? launch_list_data(hv, entry) : NULL;

	if (!memory || (entry->hashes != LAUNCH_NO_HASHES &&
			(!contents || entry->hashes > size || KERNEL_HASHES_SIZE > size - entry->hashes)))
		refused(vcpu, number);
	if (entry->hashes != LAUNCH_NO_HASHES)
		kernel_hashes_fill(hv, contents + entry->hashes);
	if (contents && !memory_is_at(memory, launch_list_spa(hv, entry, LAUNCH_PRIVATE))) /* else it has them */
		memcpy(memory, contents, size);
	for (u64 at = 0; entry->kind == PSP_PAGE_CPUID && at < size; at += PAGE_SIZE)
		cpuid_fill_page(vcpu, memory + at);
	pages_launch(hv, (enum psp_page)entry->kind, entry->gpa, size, contents);
}

static void log_entry(struct vcpu *vcpu, const struct launch_entry *entry)
{
	hw_log(vcpu->cpu, (struct record){ .kind = RECORD_LAUNCH, .address = entry->gpa, .value = entry->pages, .extra = entry->offset,
					   .aux = entry->kind });
}

static void launch_finish(struct vcpu *vcpu, const struct launch_list *list)
{
	enum psp_status status = hw_psp(vcpu->hv->hw, &(struct hw_psp_command){ .code = HW_PSP_LAUNCH_FINISH,
									       .finish = &list->finish });

	hw_log(vcpu->cpu, (struct record){ .kind = RECORD_LAUNCH, .value = status, .aux = RECORD_LAUNCH_FINISH });
	if (status != PSP_SUCCESS)
		hw_stop(vcpu->cpu, RECORD_END_LAUNCH, status, list->policy);
}

void launch(struct vcpu *vcpu)
{
	struct hypervisor *hv = vcpu->hv;
	const struct launch_list *list = launch_list(hv);

	if (!hv->snp) {
		pages_all_shared(hv);
		hw_reset(vcpu->cpu, hv->config->guest_vmpl);
		return;
	}
	hw_psp(hv->hw, &(struct hw_psp_command){ .code = HW_PSP_LAUNCH_START, .policy = list->policy });
	for (u64 i = 0; i < list->entries; i++) {
		const struct launch_entry *entry = &list->entry[i];

		if (launch_is_memory(entry))
			continue;
		if (entry->kind == PSP_PAGE_VMSA)
			launch_vmsa(vcpu, i, entry);
		else
			launch_pages(vcpu, i, entry);
		log_entry(vcpu, entry);
	}
	launch_finish(vcpu, list);
	if (!vcpu->launched)
		refused(vcpu, list->entries);
}
