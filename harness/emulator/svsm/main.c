/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Start of the reference SVSM: from the host's entry to the guest's first instruction.
 */
#include "alternate.h"
#include "ap.h"
#include "console.h"
#include "ghcb_call.h"
#include "hardware.h"
#include "nae.h"
#include "rmp.h"
#include "run_vmpl.h"
#include "selftest.h"
#include "sev.h"
#include "snp_secrets.h"
#include "svsm.h"
#include "trap.h"
#include "vmsa_reset.h"
#include "x86.h"

#define SVSM_VERSION "1"
#define SVSM_VERSION_MAX 1 /* of the specification */

struct vcpu_area vcpu_areas[SVSM_VCPUS_MAX];
static struct svsm svsm;

_Noreturn void svsm_main(const struct svsm_boot *boot);

struct feature_name {
	u64 mask;
	char name[24]; /* an array, not a pointer: see svsm.ld */
};

/* COCONUT's message, with a hint. */
static bool check_alternate_injection(struct vcpu *vcpu)
{
	u64 needed = HV_FEATURE_RESTRICTED_INJECTION | alternate_feature(&svsm);

	if (!alternate_wanted(&svsm))
		return true;
	if ((svsm.hv_features & needed) != needed) {
		console_line(vcpu, "SVSM: Alternate injection required but not available: set hypervisor feature bits 2 and %u, "
			     "or configure the guest without it", (u32)__builtin_ctzll(alternate_feature(&svsm)));
		return false;
	}
	if (!(svsm.sev_status & SEV_STATUS_RESTRICTED_INJECTION)) {
		console_line(vcpu, "SVSM: Alternate injection required but not available: VMPL0 lacks restricted injection "
			     "(SEV_STATUS bit 5)");
		return false;
	}
	return true;
}

/* Prints the missing features. Returns whether none is missing. */
static bool check_hv_features(struct vcpu *vcpu)
{
	static const struct feature_name always[] = {
		{ HV_FEATURE_SNP, "SNP (0)" },
		{ HV_FEATURE_AP_CREATION, "AP creation (1)" },
		{ HV_FEATURE_MULTI_VMPL, "multiple VMPLs (5)" },
	};
	bool complete = true;

	for (size_t i = 0; i < sizeof(always) / sizeof(always[0]); i++) {
		if (svsm.hv_features & always[i].mask)
			continue;
		console_line(vcpu, "SVSM: the hypervisor lacks GHCB feature %s: set it in the platform's hypervisor features",
			     always[i].name);
		complete = false;
	}
	return complete && check_alternate_injection(vcpu);
}

static bool boot_block_sound(const struct svsm_boot *boot)
{
	/* The image is at the start of the SVSM's memory. Its address follows from that of a vCPU area. */
	u64 areas = (u64)vcpu_areas;

	return memory_map_init(&svsm.memory, boot, (const struct svsm_map_entry *)boot->memory_map_gpa) && areas > boot->base &&
	       areas + sizeof(vcpu_areas) <= boot->base + boot->memory_size && boot->guest_vmpl >= 1 &&
	       boot->guest_vmpl <= 3 && svsm.vcpus >= 1 && svsm.vcpus <= SVSM_VCPUS_MAX &&
	       boot->console_port <= UINT16_MAX - 7 && (boot->caa_gpa & 7) == 0 &&
	       memory_is_guest(&svsm.memory, boot->caa_gpa, SVSM_CAA_HEADER_SIZE) &&
	       (!boot->guest_secrets_gpa || memory_is_guest(&svsm.memory, boot->guest_secrets_gpa, PAGE_SIZE)) &&
	       (!boot->guest_cpuid_gpa || memory_is_guest(&svsm.memory, boot->guest_cpuid_gpa, PAGE_SIZE));
}

/* The pages that were validated at launch: the firmware runs in them. */
static void grant_launch_pages(struct vcpu *vcpu)
{
	for (u32 i = 0; i < svsm.boot.regions; i++) {
		const struct svsm_region *region = &svsm.boot.region[i];
		u32 result = rmp_grant_range(region->gpa, region->size, svsm.boot.guest_vmpl);

		if (result != SEV_SUCCESS) {
			console_line(vcpu, "SVSM: RMPADJUST of launch pages %lx, %lx bytes, for VMPL%u failed: %x", region->gpa,
				     region->size, svsm.boot.guest_vmpl, result);
			ghcb_terminate(SVSM_TERM_GUEST_MEMORY);
		}
	}
}

/* The guest's vCPU 0, as after reset, registered with the hypervisor. */
static void create_launch_vmsa(struct vcpu *vcpu)
{
	struct vmsa *vmsa = &vcpu_areas[vcpu->index].vmsa;
	u64 gpa = (u64)vmsa; /* VA = GPA */
	u32 result;

	vmsa_reset(vmsa, (u8)svsm.boot.guest_vmpl, svsm.boot.guest_features, svsm.cpuid_signature);
	result = rmp_set_vmsa(gpa, svsm.boot.guest_vmpl);
	if (result != SEV_SUCCESS) {
		console_line(vcpu, "SVSM: RMPADJUST of the guest's VMSA %lx failed: %x", gpa, result);
		ghcb_terminate(SVSM_TERM_VMSA);
	}
	if (!nae_create_vmsa(vcpu, vcpu->apic_id, svsm.boot.guest_vmpl, gpa, svsm.boot.guest_features)) {
		console_line(vcpu, "SVSM: the hypervisor refused the guest's VMSA %lx for VMPL%u (AP creation NAE event)", gpa,
			     svsm.boot.guest_vmpl);
		ghcb_terminate(SVSM_TERM_VMSA);
	}
	if (!guest_write64(svsm.boot.caa_gpa, 0)) {
		console_line(vcpu, "SVSM: the guest's calling area %lx is not validated", svsm.boot.caa_gpa);
		ghcb_terminate(SVSM_TERM_GUEST_MEMORY);
	}
	vcpu->vmsa_gpa = gpa;
	vcpu->caa_gpa = svsm.boot.caa_gpa;
	registry_add(&svsm.vmsas,
		     (struct vmsa_entry){ .vmsa_gpa = gpa, .caa_gpa = vcpu->caa_gpa, .vcpu = vcpu->index });
}

/* A page of the SVSM's own, for the guest. */
static bool copy_page(u64 gpa, u64 from)
{
	bool ok = true;

	for (u32 i = 0; i < PAGE_SIZE && ok; i += sizeof(u64))
		ok = guest_write64(gpa + i, *(const a64 *)(from + i));
	return ok;
}

/* The guest's secrets page: without the keys of more privileged VMPLs, and with the SVSM's fields (58019, section 3). */
static bool fill_secrets(const struct svsm_boot *boot)
{
	u64 gpa = boot->guest_secrets_gpa;
	u64 key = gpa + offsetof(struct snp_secrets, vmpck);
	bool ok = copy_page(gpa, boot->secrets_gpa);

	for (u32 i = 0; i < boot->guest_vmpl * SNP_VMPCK_SIZE; i += sizeof(u64))
		ok = ok && guest_write64(key + i, 0);
	return ok && guest_write64(gpa + offsetof(struct snp_secrets, svsm_base), boot->base) &&
	       guest_write64(gpa + offsetof(struct snp_secrets, svsm_size), boot->memory_size) &&
	       guest_write64(gpa + offsetof(struct snp_secrets, svsm_caa),
			     boot->faults & SVSM_FAULT_CAA ? boot->fault_caa : boot->caa_gpa) &&
	       guest_write64(gpa + offsetof(struct snp_secrets, svsm_max_version), SVSM_VERSION_MAX | (u64)boot->guest_vmpl << 32);
}

/* What the security processor would have filled for a guest without an SVSM. */
static void fill_guest_pages(struct vcpu *vcpu)
{
	const struct svsm_boot *boot = &svsm.boot;

	if (boot->guest_secrets_gpa && !fill_secrets(boot)) {
		console_line(vcpu, "SVSM: the guest's secrets page %lx is not validated", boot->guest_secrets_gpa);
		ghcb_terminate(SVSM_TERM_GUEST_MEMORY);
	}
	if (boot->guest_cpuid_gpa && !copy_page(boot->guest_cpuid_gpa, boot->cpuid_gpa)) {
		console_line(vcpu, "SVSM: the guest's CPUID page %lx is not validated", boot->guest_cpuid_gpa);
		ghcb_terminate(SVSM_TERM_GUEST_MEMORY);
	}
}

static void print_banner(struct vcpu *vcpu)
{
	const struct svsm_boot *boot = &svsm.boot;

	console_line(vcpu, "SVSM: reference SVSM %s at %lx, %lu KiB; GHCB version %u, C-bit %u, SEV_STATUS %lx, "
		     "hypervisor features %lx", SVSM_VERSION, boot->base, boot->memory_size / 1024, svsm.ghcb_version,
		     boot->cbit, svsm.sev_status, svsm.hv_features);
	console_line(vcpu, "SVSM: guest at VMPL%u, %u vCPU, SEV_FEATURES %lx%s, RAM %lu + %lu MiB, calling area %lx",
		     boot->guest_vmpl, svsm.vcpus, boot->guest_features,
		     boot->guest_features & SEV_FEATURES_ALTERNATE_INJECTION ? " (Alternate Injection)" : "",
		     memory_bytes(&svsm.memory, 0, MEMORY_4G) >> 20, memory_bytes(&svsm.memory, MEMORY_4G, MEMORY_VIEW_END) >> 20,
		     boot->caa_gpa);
}

_Noreturn void svsm_main(const struct svsm_boot *boot)
{
	struct vcpu *vcpu = &vcpu_areas[0].vcpu;
	u32 cbit = 0;

	*vcpu = (struct vcpu){ .svsm = &svsm, .online = true };
	svsm.boot = *boot;
	svsm.vcpus = ((const struct svsm_parameters *)boot->parameters_gpa)->vcpus;
	svsm.cpuid_signature = ((const struct snp_secrets *)boot->secrets_gpa)->fms;
	trap_init();
	trap_load();
	hardware_use_batches(true);

	/* There is no console without a GHCB: these errors terminate with a reason code only. */
	if (!boot_block_sound(&svsm.boot))
		ghcb_terminate(SVSM_TERM_BOOT_BLOCK);
	svsm.apic_registrations = 1; /* the firmware's, from the start */
	svsm.sev_status = rdmsr(SEV_MSR_STATUS);
	if (!(svsm.sev_status & SEV_STATUS_SNP))
		ghcb_terminate(SVSM_TERM_NO_SNP);
	svsm.ghcb_version = ghcb_negotiate(&cbit);
	if (svsm.ghcb_version == 0 || cbit != svsm.boot.cbit || !ghcb_init(vcpu) || !console_init(vcpu))
		ghcb_terminate(SVSM_TERM_GHCB);
	svsm.hv_features = ghcb_hv_features();

	print_banner(vcpu);
	if (!check_hv_features(vcpu))
		ghcb_terminate(SVSM_TERM_FEATURE);
	if (!alternate_init(vcpu))
		ghcb_terminate(SVSM_TERM_INJECTION);
	if (!ap_start_all(vcpu))
		ghcb_terminate(SVSM_TERM_AP);
	if (svsm.boot.flags & SVSM_BOOT_SELF_TEST)
		selftest(vcpu);
	grant_launch_pages(vcpu);
	fill_guest_pages(vcpu);
	create_launch_vmsa(vcpu);
	console_line(vcpu, "SVSM: %u launch regions handed to the guest, VMSA %lx; it starts", svsm.boot.regions,
		     vcpu->vmsa_gpa);
	run_guest(vcpu);
}
