/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The launch: what SNP_LAUNCH_UPDATE and the loader leave for the first VMRUN. From the firmware's
 * SEV metadata: memory, secrets page, CPUID page, CAA. With an SVSM, VMPL0 starts it; without, the firmware.
 */
#include "cpu.h"
#include "host.h"
#include "svsm.h"
#include "svsm_boot.h"
#include "vmsa.h"

#define SECRETS_VERSION 3
#define SECRETS_VERSION_OFFSET 0

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

static void fill_secrets(struct vcpu *vcpu, u8 *page)
{
	const struct host_config *config = vcpu->host->config;

	*(a32 *)(page + SECRETS_VERSION_OFFSET) = SECRETS_VERSION;
	if (!config->svsm_size)
		return;
	*(a64 *)(page + SVSM_SECRETS_BASE) = config->svsm_gpa;
	*(a64 *)(page + SVSM_SECRETS_SIZE) = config->svsm_memory;
	*(a64 *)(page + SVSM_SECRETS_CAA) = section_gpa(config, CONFIG_SECTION_SVSM_CAA);
	*(a32 *)(page + SVSM_SECRETS_MAX_VERSION) = 1;
	page[SVSM_SECRETS_GUEST_VMPL] = (u8)config->guest_vmpl;
}

static void launch_sections(struct vcpu *vcpu)
{
	struct host *host = vcpu->host;

	for (u32 i = 0; i < host->config->sections; i++) {
		const struct config_section *section = &host->config->section[i];
		u8 *memory = memory_private(host, section->gpa, section->size);

		if (!memory || section->size < PAGE_SIZE || (section->gpa | section->size) & (PAGE_SIZE - 1))
			host_stop(vcpu, RECORD_END_CONFIG, offsetof(struct host_config, section) + i * sizeof(*section), section->gpa);
		memset(memory, 0, section->size);
		rmp_launch(host, section->gpa, section->size);
		if (section->type == CONFIG_SECTION_SECRETS)
			fill_secrets(vcpu, memory);
		else if (section->type == CONFIG_SECTION_CPUID)
			cpuid_fill_page(vcpu, memory);
	}
}

static void segment(struct vmcb_segment *to, u16 selector, u16 attributes, u32 limit, u64 base)
{
	*to = (struct vmcb_segment){ .selector = selector, .attributes = attributes, .limit = limit, .base = base };
}

static void svsm_page_tables(struct host *host, u8 *top)
{
	u64 base = host->config->svsm_gpa + host->config->svsm_memory;
	u64 *pml4 = (u64 *)(top - SVSM_PML4);

	pml4[0] = (base - SVSM_PDPT_PRIVATE) | host->c_bit | PTE_TABLE;
	pml4[SVSM_SHARED_OFFSET >> 39] = (base - SVSM_PDPT_SHARED) | host->c_bit | PTE_TABLE;
	for (u64 i = 0; i < 512; i++) {
		((u64 *)(top - SVSM_PDPT_PRIVATE))[i] = i << GIB_SHIFT | host->c_bit | PTE_1G;
		((u64 *)(top - SVSM_PDPT_SHARED))[i] = i << GIB_SHIFT | PTE_1G;
	}
}

static void svsm_boot_block(struct vcpu *vcpu, struct svsm_boot *boot)
{
	const struct host_config *config = vcpu->host->config;

	*boot = (struct svsm_boot){
		.base = config->svsm_gpa,
		.memory_size = config->svsm_memory,
		.guest_features = config->sev_status[config->guest_vmpl] >> SEV_FEATURES_STATUS_SHIFT,
		.caa_gpa = section_gpa(config, CONFIG_SECTION_SVSM_CAA),
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
	boot->region[boot->regions++] = (struct svsm_region){ .gpa = 0x100000000ull - config->fw_size, .size = config->fw_size };
	for (u32 i = 0; i < config->sections && boot->regions < SVSM_BOOT_REGIONS; i++)
		boot->region[boot->regions++] =
			(struct svsm_region){ .gpa = config->section[i].gpa, .size = config->section[i].size };
}

static void launch_svsm(struct vcpu *vcpu)
{
	struct host *host = vcpu->host;
	const struct host_config *config = host->config;
	struct vmpl_state *state = &vcpu->state[0];
	struct vmcb_save *save = &state->vmcb->save;
	u8 *memory = memory_private(host, config->svsm_gpa, config->svsm_memory);
	const struct svsm_image *image = (const struct svsm_image *)memory;
	u8 *top = memory + config->svsm_memory;

	host_assert(vcpu, memory && image->magic == SVSM_IMAGE_MAGIC, "the SVSM image has no header", __LINE__);
	host_assert(vcpu, image->size < config->svsm_memory - SVSM_BOOT, "the SVSM does not fit its memory", __LINE__);
	rmp_launch(host, config->svsm_gpa, config->svsm_memory);
	svsm_page_tables(host, top);
	svsm_boot_block(vcpu, (struct svsm_boot *)(top - SVSM_BOOT));

	startup_reset_state(state);
	segment(&save->cs, 0x08, 0xA9B, 0xFFFFFFFF, 0);
	segment(&save->ss, 0x10, 0xC93, 0xFFFFFFFF, 0);
	segment(&save->ds, 0x10, 0xC93, 0xFFFFFFFF, 0);
	segment(&save->es, 0x10, 0xC93, 0xFFFFFFFF, 0);
	save->efer = EFER_SVME | EFER_LME | EFER_LMA | EFER_NXE;
	save->cr0 = 0x80010033; /* PG, WP, NE, ET, MP, PE */
	save->cr3 = (config->svsm_gpa + config->svsm_memory - SVSM_PML4) | host->c_bit;
	save->cr4 = CR4_PAE;
	save->rip = config->svsm_gpa + image->entry;
	save->rsp = config->svsm_gpa + config->svsm_memory - SVSM_STACK;
	state->gpr[GPR_RDI] = config->svsm_gpa + config->svsm_memory - SVSM_BOOT;
}

void launch(struct vcpu *vcpu)
{
	struct host *host = vcpu->host;
	const struct host_config *config = host->config;

	if (!host->sev) {
		for (u32 i = 0; i < host->regions; i++)
			rmp_set_shared(host, host->region[i].gpa, host->region[i].size);
	} else {
		rmp_launch(host, 0x100000000ull - config->fw_size, config->fw_size);
		launch_sections(vcpu);
	}
	if (host->sev && config->svsm_size)
		launch_svsm(vcpu);
	else
		startup_reset_state(&vcpu->state[config->guest_vmpl]);
}
