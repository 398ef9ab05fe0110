/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How a vCPU begins and ends to run: reset, INIT and SIPI, AP reset hold, and AP creation.
 * None of these is done to the vCPU that is in the processor, but for the hold, which it asks for itself.
 */
#include "cpu.h"
#include "ghcb.h"
#include "host.h"

#define RESET_CODE   0x9B /* segment attributes: present, code, read, accessed */
#define SIPI_LIMIT   0xFFFF
#define SIPI_WOKEN   1ull /* the answer to AP reset hold: not 0 */

static void segment(struct vmcb_segment *to, u16 selector, u16 attributes, u64 base)
{
	*to = (struct vmcb_segment){ .selector = selector, .attributes = attributes, .limit = 0xFFFF, .base = base };
}

/* APM vol. 2, table 14-1. */
void startup_reset_state(struct vmpl_state *state)
{
	struct vmcb_save *save = &state->vmcb->save;
	struct cpuid_result signature = cpuid(1, 0);
	struct vmcb_segment *data[] = { &save->es, &save->ss, &save->ds, &save->fs, &save->gs };

	segment(&save->cs, 0xF000, RESET_CODE, 0xFFFF0000);
	for (u32 i = 0; i < sizeof(data) / sizeof(data[0]); i++)
		segment(data[i], 0, 0x93, 0);
	segment(&save->gdtr, 0, 0, 0);
	segment(&save->idtr, 0, 0, 0);
	segment(&save->ldtr, 0, 0x82, 0);
	segment(&save->tr, 0, 0x8B, 0);
	save->efer = EFER_SVME;
	save->cr0 = 0x60000010;
	save->dr6 = 0xFFFF0FF0;
	save->dr7 = DR7_RESET;
	save->rflags = 2;
	save->rip = 0xFFF0;
	save->g_pat = 0x0007040600070406;
	state->gpr[GPR_RDX] = signature.eax;
}

void startup_reset(struct vcpu *vcpu)
{
	const struct host *host = vcpu->host;

	startup_reset_state(&vcpu->state[vcpu->guest_vmpl]);
	vcpu->wait = host->sev ? WAIT_VMSA : WAIT_SIPI;
}

/* INIT resets no MSR and no FPU (APM vol. 2, table 14-1). */
static void init_registers(struct vcpu *vcpu)
{
	struct vmpl_state *state = current(vcpu);
	struct vmcb_control *control = &state->vmcb->control;

	memset(state->gpr, 0, sizeof(state->gpr));
	memset(state->dr, 0, sizeof(state->dr));
	state->vmcb->save.cr2 = state->vmcb->save.cr3 = state->vmcb->save.cr4 = 0;
	state->vmcb->save.rax = state->vmcb->save.rsp = 0;
	state->vmcb->save.cpl = 0;
	startup_reset_state(state);
	control->interrupt_shadow = 0;
	control->event_inj = 0;
}

/* With SEV the registers are the guest's own: it stops, and SIPI lets it go on, unless a VMSA waits for INIT. */
void startup_init(struct vcpu *vcpu)
{
	struct vmpl_state *state = &vcpu->state[vcpu->guest_vmpl];
	u64 gpa = state->init_vmsa_gpa;

	vapic_init(guest_apic(vcpu));
	vcpu->nmi_pending = false;
	vcpu->apic_dirty = true;
	if (gpa != NO_GPA) {
		state->init_vmsa_gpa = NO_GPA;
		startup_vmsa(vcpu, vcpu->guest_vmpl, gpa, state->init_features);
		return;
	}
	if (!vcpu->host->sev) {
		init_registers(vcpu);
		vcpu->extint = -1;
		vcpu->posted = -1;
		vcpu->wait = vcpu == boot_vcpu(vcpu) ? WAIT_NOTHING : WAIT_SIPI;
	} else if (is_guest(vcpu) && vcpu->wait <= WAIT_INTERRUPT) {
		vcpu->wait = WAIT_SIPI;
	}
}

static void end_hold(struct vcpu *vcpu)
{
	u8 *ghcb;

	if (vcpu->hold_ghcb == NO_GPA) {
		current(vcpu)->ghcb_msr = SIPI_WOKEN << GHCB_MSR_DATA_SHIFT | GHCB_MSR_AP_RESET_HOLD_RESP;
		return;
	}
	ghcb = memory_shared(vcpu->host, vcpu->hold_ghcb, PAGE_SIZE);
	if (ghcb) /* else another vCPU took it away: its guest's own loss */
		*(volatile a64 *)(ghcb + GHCB_SW_EXITINFO2) = SIPI_WOKEN;
}

void startup_sipi(struct vcpu *vcpu, u8 vector)
{
	struct vmcb_save *save = &vmcb(vcpu)->save;

	if (vcpu->wait == WAIT_HOLD)
		end_hold(vcpu);
	else if (vcpu->wait != WAIT_SIPI)
		return;
	if (!vcpu->host->sev) {
		segment(&save->cs, (u16)(vector << 8), RESET_CODE, (u64)vector << 12);
		save->rip = 0;
	}
	vcpu->wait = WAIT_NOTHING;
}

void startup_hold(struct vcpu *vcpu, u64 ghcb_gpa)
{
	vcpu->hold_ghcb = ghcb_gpa;
	vcpu->wait = WAIT_HOLD;
	vcpu->yield = true;
}

/*
 * AP creation for a VMPL. One that VMPL0 has to run is left to it: it comes out of RUN_VMPL or HLT, and finds what its
 * guest has asked it for. On hardware it is the hypervisor's choice.
 */
void startup_vmsa(struct vcpu *vcpu, u32 vmpl, u64 gpa, u64 features)
{
	struct vmpl_state *state = &vcpu->state[vmpl];

	state->vmsa_gpa = gpa;
	state->sev_features = features;
	state->fresh = true;
	alternate_begin(vcpu, vmpl, gpa == NO_GPA ? 0 : features);
	vcpu->apic_dirty = true;
	if (vmpl > vcpu->vmpl) {
		vcpu->vmsa_came |= gpa != NO_GPA;
		return;
	}
	vmpl_abandon(vcpu);
	vcpu->wait = WAIT_VMSA;
	if (gpa == NO_GPA)
		return;
	if (vmpl)
		vcpu->vmpl = 0;
	else if (!vmpl_begin(vcpu, vmpl)) /* VMRUN would fail */
		host_stop(vcpu, RECORD_END_NO_VMSA, gpa, features);
	vcpu->wait = WAIT_NOTHING;
}
