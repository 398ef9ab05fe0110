/* SPDX-License-Identifier: GPL-2.0-or-later */
/* NAE events about the guest's other vCPUs (publication 56421, sections 4.1.7 to 4.1.9 and 4.1.16). */
#include "memory.h"
#include "nae.h"
#include "startup.h"

/* KVM refuses a VMSA at a 2 MiB boundary because of an erratum of the first SNP processors. */
static bool is_vmsa_address(struct vcpu *vcpu, u64 gpa)
{
	return !(gpa & (PAGE_SIZE - 1)) && (gpa & (PAGE_SIZE_2M - 1)) && memory_region(vcpu->hv, gpa);
}

/*
 * KVM: all VMSAs have the same SEV_FEATURES (sev_snp_ap_creation, vmsa_features). Here one set a VMPL, and Alternate
 * Injection may be absent from the guest's where the SVSM has ended it, or has not begun it.
 */
static bool has_wanted_features(struct vcpu *vcpu, u32 vmpl, u64 features)
{
	const struct host_config *config = vcpu->hv->config;

	if (vmpl < vcpu->guest_vmpl)
		return features == config->sev_status[vmpl] >> SEV_FEATURES_STATUS_SHIFT;
	if (features == config->vmsa_features)
		return true;
	return !has_alternate_guest(vcpu) && features == (config->vmsa_features & ~SEV_FEATURES_ALTERNATE_INJECTION);
}

static bool creation_allowed(struct vcpu *vcpu, const struct nae *nae, u32 operation, u32 vmpl, u32 apic_id, u64 features)
{
	if (apic_id >= vcpu->hv->vcpus || vmpl >= CONFIG_VMPLS || vmpl < vcpu->vmpl || operation > NAE_AP_DESTROY)
		return false;
	if (apic_id == vcpu->index && vmpl == vcpu->vmpl) /* a vCPU cannot replace the VMSA it runs on */
		return false;
	return operation == NAE_AP_DESTROY ||
	       (has_wanted_features(vcpu, vmpl, features) && is_vmsa_address(vcpu, nae->info2));
}

void nae_ap_creation(struct vcpu *vcpu, struct nae *nae)
{
	u32 operation = nae->info1 & NAE_AP_OP_MASK;
	u32 vmpl = (nae->info1 >> NAE_AP_VMPL_SHIFT) & NAE_AP_VMPL_MASK;
	u32 apic_id = (u32)(nae->info1 >> NAE_AP_APIC_ID_SHIFT);
	u64 features = nae_get(nae, GHCB_RAX);
	struct vmpl_state *state;
	bool ok;

	if (operation != NAE_AP_DESTROY && !nae_need(nae, GHCB_RAX, GHCB_RAX))
		return;
	ok = creation_allowed(vcpu, nae, operation, vmpl, apic_id, features);
	hw_log(vcpu->cpu, (struct record){ .kind = RECORD_VMSA, .rip = nae->pc, .address = nae->info2, .value = nae->info1,
					 .extra = features, .outcome = ok ? RECORD_OK : RECORD_ERROR });
	if (!ok) {
		nae_refuse(nae, NAE_ERR_INVALID_INPUT);
		return;
	}
	vcpu->apic_dirty = true; /* another vCPU may be ready now */
	if (operation == NAE_AP_CREATE_ON_INIT) {
		state = &vcpu->hv->vcpu[apic_id].state[vmpl];
		state->init_vmsa_gpa = nae->info2;
		state->init_features = features;
	} else {
		startup_vmsa(&vcpu->hv->vcpu[apic_id], vmpl, operation == NAE_AP_DESTROY ? NO_GPA : nae->info2, features);
	}
}

void nae_ap_reset_hold(struct vcpu *vcpu, struct nae *nae) { startup_hold(vcpu, nae->gpa); }

void nae_apic_ids(struct vcpu *vcpu, struct nae *nae)
{
	const struct host_config *config = vcpu->hv->config;
	u32 vcpus = vcpu->hv->vcpus;
	u64 pages = (sizeof(u32) * (vcpus + 1) + PAGE_SIZE - 1) / PAGE_SIZE;
	u8 *list;

	if (!nae_need(nae, GHCB_RAX, GHCB_RAX))
		return;
	if (nae_get(nae, GHCB_RAX) < pages) {
		nae_set(nae, GHCB_RAX, pages);
		return;
	}
	list = memory_shared(vcpu->hv, nae->info1, pages * PAGE_SIZE);
	if (!list) {
		nae_refuse(nae, NAE_ERR_INVALID_INPUT);
		return;
	}
	*(a32 *)list = vcpus;
	for (u32 i = 0; i < vcpus; i++)
		*(a32 *)(list + 4 * (i + 1)) = i && (config->faults & CONFIG_FAULT_ID_LIST) ? (u32)config->fault_apic_id : i;
	nae_set(nae, GHCB_RAX, pages);
}

void nae_ap_jump_table(struct vcpu *vcpu, struct nae *nae)
{
	if (nae->info1 == NAE_AP_JUMP_TABLE_SET)
		vcpu->hv->ap_jump_table = nae->info2;
	else if (nae->info1 == NAE_AP_JUMP_TABLE_GET)
		nae->result2 = vcpu->hv->ap_jump_table;
	else
		nae_refuse(nae, NAE_ERR_INVALID_INPUT);
}
