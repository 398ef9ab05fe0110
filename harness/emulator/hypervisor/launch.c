/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From the firmware's SEV metadata: memory, secrets page, CPUID page, CAA. With an SVSM, VMPL0 starts it; without, the
 * firmware. Each page is filled while it belongs to the hypervisor, then launched.
 */
#include "loop.h"
#include "bytes.h"
#include "cpuid.h"
#include "kernel_hashes.h"
#include "memory.h"
#include "pages.h"
#include "svsm_boot.h"
#include "x86.h"

#define DEFAULT_POLICY (PSP_POLICY_ONE | BIT(16)) /* of QEMU's sev-snp-guest: SMT is allowed */

/* Inside the SVSM's memory, from its end: page tables, and below them stack and boot block. */
#define SVSM_PML4  0x1000ull
#define SVSM_PDPT_PRIVATE 0x2000ull
#define SVSM_PDPT_SHARED  0x3000ull
#define SVSM_STACK 0x4000ull
#define SVSM_BOOT  0x20000ull

#define PTE_TABLE 0x03ull
#define PTE_1G    0x83ull
#define GIB_SHIFT 30

static u64 section_gpa(const struct host_config *config, enum config_section_type type)
{
	for (u32 i = 0; i < config->sections; i++) {
		if (config->section[i].type == type)
			return config->section[i].gpa;
	}
	return 0;
}

static bool hash_table_is_in(const struct host_config *config, const struct config_section *section)
{
	u64 offset = config->hash_table_gpa - (u64)section->gpa;

	return config->hash_table_size >= KERNEL_HASHES_SIZE && offset <= section->size &&
	       KERNEL_HASHES_SIZE <= section->size - offset;
}

/* As QEMU launches a section (its target/i386/sev.c, snp_metadata_desc_to_page_type). */
static enum psp_page page_type(struct hypervisor *hv, const struct config_section *section)
{
	switch (section->type) {
	case CONFIG_SECTION_SECRETS: return PSP_PAGE_SECRETS;
	case CONFIG_SECTION_CPUID: return PSP_PAGE_CPUID;
	case CONFIG_SECTION_KERNEL_HASHES: return hash_table_is_in(hv->config, section) ? PSP_PAGE_NORMAL : PSP_PAGE_ZERO;
	default: return PSP_PAGE_ZERO;
	}
}

static void launch_sections(struct vcpu *vcpu)
{
	struct hypervisor *hv = vcpu->hv;

	for (u32 i = 0; i < hv->config->sections; i++) {
		const struct config_section *section = &hv->config->section[i];
		u8 *memory = memory_launch(hv, section->gpa, section->size);

		if (!memory || section->size < PAGE_SIZE || (section->gpa | section->size) & (PAGE_SIZE - 1))
			hw_stop(vcpu->cpu, RECORD_END_CONFIG, offsetof(struct host_config, section) + i * sizeof(*section), section->gpa);
		memset(memory, 0, section->size);
		if (section->type == CONFIG_SECTION_CPUID)
			cpuid_fill_page(vcpu, memory);
		else if (section->type == CONFIG_SECTION_KERNEL_HASHES && hash_table_is_in(hv->config, section))
			kernel_hashes_fill(hv, memory + (hv->config->hash_table_gpa - section->gpa));
		pages_launch(hv, page_type(hv, section), section->gpa, section->size);
	}
}

static void segment(struct vmcb_segment *to, u16 selector, u16 attributes, u32 limit, u64 base)
{
	*to = (struct vmcb_segment){ .selector = selector, .attributes = attributes, .limit = limit, .base = base };
}

static void svsm_page_tables(struct hypervisor *hv, u8 *top)
{
	u64 base = hv->config->svsm_gpa + hv->config->svsm_memory;
	u64 *pml4 = (u64 *)(top - SVSM_PML4);

	pml4[0] = (base - SVSM_PDPT_PRIVATE) | BIT(hv->config->cbit) | PTE_TABLE;
	pml4[SVSM_SHARED_OFFSET >> 39] = (base - SVSM_PDPT_SHARED) | BIT(hv->config->cbit) | PTE_TABLE;
	for (u64 i = 0; i < 512; i++) {
		((u64 *)(top - SVSM_PDPT_PRIVATE))[i] = i << GIB_SHIFT | BIT(hv->config->cbit) | PTE_1G;
		((u64 *)(top - SVSM_PDPT_SHARED))[i] = i << GIB_SHIFT | PTE_1G;
	}
}

static void svsm_boot_block(struct vcpu *vcpu, struct svsm_boot *boot)
{
	const struct host_config *config = vcpu->hv->config;

	*boot = (struct svsm_boot){
		.base = config->svsm_gpa,
		.memory_size = config->svsm_memory,
		.guest_features = config->sev_status[config->guest_vmpl] >> SEV_FEATURES_STATUS_SHIFT,
		.caa_gpa = section_gpa(config, CONFIG_SECTION_SVSM_CAA),
		.secrets_gpa = section_gpa(config, CONFIG_SECTION_SECRETS),
		.ram_low = config->ram_low,
		.ram_high = config->ram_high,
		.cbit = config->cbit,
		.guest_vmpl = config->guest_vmpl,
		.console_port = config->svsm_console_port,
		.cpuid_signature = cpuid(1, 0).eax,
		.vcpus = config->vcpus,
		.flags = config->svsm_flags,
		.faults = config->svsm_faults,
		.fault_every = config->fault_every,
		.fault_register = config->svsm_fault_register,
		.fault_result = config->svsm_fault_result,
	};
	boot->region[boot->regions++] = (struct svsm_region){ .gpa = FOUR_GIB - config->fw_size, .size = config->fw_size };
	for (u32 i = 0; i < config->sections && boot->regions < SVSM_BOOT_REGIONS; i++)
		boot->region[boot->regions++] =
			(struct svsm_region){ .gpa = config->section[i].gpa, .size = config->section[i].size };
}

static void launch_svsm(struct vcpu *vcpu)
{
	struct hypervisor *hv = vcpu->hv;
	const struct host_config *config = hv->config;
	u64 end = config->svsm_gpa + config->svsm_memory;
	u8 *memory = memory_launch(hv, config->svsm_gpa, config->svsm_memory);
	const struct svsm_image *image = (const struct svsm_image *)memory;
	u8 *top = memory + config->svsm_memory;
	u64 gpr[16] = { [HW_RDX] = cpuid(1, 0).eax, [HW_RDI] = end - SVSM_BOOT };
	struct vmcb_save save = { 0 };

	if (!memory || image->magic != SVSM_IMAGE_MAGIC)
		hw_fail(vcpu->cpu, "the SVSM image has no header", __LINE__);
	if (image->size >= config->svsm_memory - SVSM_BOOT)
		hw_fail(vcpu->cpu, "the SVSM does not fit its memory", __LINE__);
	svsm_page_tables(hv, top);
	svsm_boot_block(vcpu, (struct svsm_boot *)(top - SVSM_BOOT));
	pages_launch(hv, PSP_PAGE_UNMEASURED, config->svsm_gpa, config->svsm_memory);

	hw_reset_registers(&save);
	segment(&save.cs, 0x08, 0xA9B, 0xFFFFFFFF, 0);
	segment(&save.ss, 0x10, 0xC93, 0xFFFFFFFF, 0);
	segment(&save.ds, 0x10, 0xC93, 0xFFFFFFFF, 0);
	segment(&save.es, 0x10, 0xC93, 0xFFFFFFFF, 0);
	save.efer = EFER_SVME | EFER_LME | EFER_LMA | EFER_NXE;
	save.cr0 = 0x80010033; /* PG, WP, NE, ET, MP, PE */
	save.cr3 = (end - SVSM_PML4) | BIT(config->cbit);
	save.cr4 = CR4_PAE;
	save.rip = config->svsm_gpa + image->entry;
	save.rsp = end - SVSM_STACK;
	hw_psp(hv->hw, &(struct hw_psp_command){ .code = HW_PSP_LAUNCH_VMSA, .cpu = vcpu->cpu, .vmpl = 0, .save = &save, .gpr = gpr });
}

void launch(struct vcpu *vcpu)
{
	struct hypervisor *hv = vcpu->hv;
	const struct host_config *config = hv->config;

	if (!hv->snp) {
		pages_all_shared(hv);
	} else {
		hw_psp(hv->hw, &(struct hw_psp_command){ .code = HW_PSP_LAUNCH_START, .policy = DEFAULT_POLICY });
		pages_launch(hv, PSP_PAGE_NORMAL, FOUR_GIB - config->fw_size, config->fw_size);
		launch_sections(vcpu);
	}
	if (hv->snp && config->svsm_size)
		launch_svsm(vcpu);
	else
		hw_reset(vcpu->cpu, config->guest_vmpl);
	if (hv->snp && hw_psp(hv->hw, &(struct hw_psp_command){ .code = HW_PSP_LAUNCH_FINISH, .finish = &(struct psp_finish){ .id_block_en = 0 } }))
		hw_fail(vcpu->cpu, "SNP_LAUNCH_FINISH was refused", __LINE__);
}
