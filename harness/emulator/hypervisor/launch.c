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
						.vmsa = (u8 *)launch_list_data(vcpu->hv, entry) };

	if (hw_psp(vcpu->hv->hw, &command) != PSP_SUCCESS)
		refused(vcpu, number);
	of->launched = true;
}

static void launch_pages(struct vcpu *vcpu, u64 number, const struct launch_entry *entry)
{
	struct hypervisor *hv = vcpu->hv;
	u64 size = entry->pages * PAGE_SIZE;
	u8 *memory = memory_launch(hv, entry->gpa, size);

	if (!memory || (entry->detail != LAUNCH_NO_HASHES && (entry->detail > size || KERNEL_HASHES_SIZE > size - entry->detail)))
		refused(vcpu, number);
	if (entry->offset) /* else QEMU's RAM, which starts as zeros, or the list's data themselves */
		memcpy(memory, (const void *)launch_list_data(hv, entry), size);
	if (entry->detail != LAUNCH_NO_HASHES)
		kernel_hashes_fill(hv, memory + entry->detail);
	for (u64 at = 0; entry->kind == PSP_PAGE_CPUID && at < size; at += PAGE_SIZE)
		cpuid_fill_page(vcpu, memory + at);
	pages_launch(hv, (enum psp_page)entry->kind, entry->gpa, size);
}

static void log_launch(struct vcpu *vcpu)
{
	u64 digest[PSP_DIGEST_SIZE / 8];

	memcpy(digest, hw_launch_digest(vcpu->hv->hw), sizeof(digest));
	for (u32 half = 0; half < 2; half++)
		hw_log(vcpu->cpu, (struct record){ .kind = RECORD_LAUNCH, .address = digest[3 * half], .value = digest[3 * half + 1],
						   .extra = digest[3 * half + 2], .aux = half });
}

static void launch_finish(struct vcpu *vcpu, const struct launch_list *list)
{
	enum psp_status status = hw_psp(vcpu->hv->hw, &(struct hw_psp_command){ .code = HW_PSP_LAUNCH_FINISH,
									       .finish = &list->finish });

	log_launch(vcpu);
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
	}
	launch_finish(vcpu, list);
	if (!vcpu->launched)
		refused(vcpu, list->entries);
}
