/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "startup.h"
#include "alternate.h"
#include "ghcb.h"
#include "memory.h"
#include "vmpl.h"

#define SIPI_WOKEN 1ull /* the answer to AP reset hold: not 0 */

void startup_reset(struct vcpu *vcpu)
{
	if (!vcpu->launched)
		hw_reset(vcpu->cpu, vcpu->guest_vmpl);
	vcpu->wait = vcpu->hv->snp && !vcpu->launched ? WAIT_VMSA : WAIT_SIPI;
}

/* What KVM's kvm_vcpu_reset() does at an INIT, but for the registers. */
static void reset_events(struct vcpu *vcpu, u32 vmpl)
{
	vapic_init(&vcpu->apic[vmpl]);
	vcpu->apic_dirty = true;
	if (vmpl != vcpu->guest_vmpl)
		return;
	vcpu->nmi_pending = false;
	vcpu->nmi_blocking = NMI_OPEN;
}

/* With SEV the registers are the guest's own: an AP stops, and continues at SIPI, unless a VMSA waits for INIT. */
void startup_init(struct vcpu *vcpu)
{
	const struct vmpl_state *state = &vcpu->state[vcpu->guest_vmpl];
	u64 gpa = state->init_vmsa_gpa;

	reset_events(vcpu, vcpu->guest_vmpl);
	if (gpa != NO_GPA) {
		startup_vmsa(vcpu, vcpu->guest_vmpl, gpa, state->init_features);
		return;
	}
	if (!vcpu->hv->es) {
		hw_init(vcpu->cpu);
		vcpu->extint = -1;
		vcpu->posted = -1;
	} else if (!is_guest(vcpu) || vcpu->wait > WAIT_INTERRUPT) {
		return;
	}
	vcpu->wait = vcpu == boot_vcpu(vcpu) ? WAIT_NOTHING : WAIT_SIPI;
}

static void end_hold(struct vcpu *vcpu)
{
	u8 *ghcb;

	if (vcpu->hold_ghcb == NO_GPA) {
		hw_set_ghcb(vcpu->cpu, SIPI_WOKEN << GHCB_MSR_DATA_SHIFT | GHCB_MSR_AP_RESET_HOLD_RESP);
		return;
	}
	ghcb = memory_shared(vcpu->hv, vcpu->hold_ghcb, PAGE_SIZE);
	if (ghcb) /* else another vCPU has removed it, which harms only its guest */
		*(volatile a64 *)(ghcb + GHCB_SW_EXITINFO2) = SIPI_WOKEN;
}

void startup_sipi(struct vcpu *vcpu, u8 vector)
{
	if (vcpu->wait == WAIT_HOLD)
		end_hold(vcpu);
	else if (vcpu->wait != WAIT_SIPI)
		return;
	if (!vcpu->hv->es)
		hw_sipi(vcpu->cpu, vector);
	vcpu->wait = WAIT_NOTHING;
}

void startup_hold(struct vcpu *vcpu, u64 ghcb_gpa)
{
	vcpu->hold_ghcb = ghcb_gpa;
	vcpu->wait = WAIT_HOLD;
	vcpu->yield = true;
}

/*
 * AP creation for a VMPL, for which KVM resets the vCPU as at an INIT (KVM_REQ_UPDATE_PROTECTED_GUEST_STATE). VMPL0
 * runs a lower VMPL itself: its RUN_VMPL or HLT ends, and it reads the request of its guest. On hardware the
 * hypervisor decides when.
 */
void startup_vmsa(struct vcpu *vcpu, u32 vmpl, u64 gpa, u64 features)
{
	reset_events(vcpu, vmpl);
	vmpl_set_vmsa(vcpu, vmpl, gpa, features);
	if (vmpl > vcpu->vmpl) {
		vcpu->vmsa_came |= gpa != NO_GPA;
		return;
	}
	vmpl_abandon(vcpu);
	vcpu->wait = WAIT_VMSA;
	if (gpa == NO_GPA)
		return;
	if (vmpl) {
		vcpu->vmpl = 0;
		hw_vmpl_select(vcpu->cpu, 0);
	} else if (!hw_vmpl_begin(vcpu->cpu, 0)) { /* VMRUN would fail */
		hw_stop(vcpu->cpu, RECORD_END_NO_VMSA, gpa, features);
	}
	vcpu->wait = WAIT_NOTHING;
}
