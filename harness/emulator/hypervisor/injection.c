/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "injection.h"
#include "alternate.h"
#include "doorbell.h"
#include "physical_apic.h"
#include "readiness.h"
#include "timer.h"
#include "vmpl.h"
#include "x86.h"

#define PIC_POLL_NS 4000000ull

void injection_setup(struct vcpu *vcpu)
{
	const struct vapic_config config = {
		.apic_id = vcpu->index,
		.bsp = vcpu->index == 0,
		.x2apic = !(vcpu->hv->config->hidden_features & CONFIG_HIDE_X2APIC),
		.tsc_deadline = !(vcpu->hv->config->hidden_features & CONFIG_HIDE_TSC_DEADLINE),
		.phys_bits = vcpu->hv->config->phys_bits,
	};

	vcpu->apic_dirty = true;
	vcpu->posted = -1;
	vcpu->extint = -1;
	for (u32 vmpl = 0; vmpl < CONFIG_VMPLS; vmpl++)
		vapic_reset(&vcpu->apic[vmpl], &config);
	alternate_setup(vcpu);
	for (u32 vmpl = 0; vmpl < CONFIG_VMPLS; vmpl++)
		hw_observe_apic_base(vcpu->cpu, vmpl, vapic_base(&vcpu->apic[vmpl]));
	if (!vcpu->apic_virtual || vcpu != boot_vcpu(vcpu))
		return;
	vcpu->hv->timer_armed_ns = NO_DEADLINE;
	vcpu->hv->slice_end_ns = NO_DEADLINE;
	physical_setup(vcpu);
}

static u64 earlier(u64 a, u64 b) { return a < b ? a : b; }

void injection_arm_timer(struct vcpu *vcpu)
{
	struct hypervisor *hv = vcpu->hv;
	u64 deadline = readiness_slice_end(vcpu);

	for (u32 i = 0; i < hv->vcpus; i++)
		deadline = earlier(deadline, timer_deadline(&hv->vcpu[i]));
	/* The guest may become ready without an exit: poll for the PIC. */
	if (vcpu->pic_waiting && deadline > now_ns(hv) + PIC_POLL_NS)
		deadline = hv->timer_armed_ns != NO_DEADLINE ? hv->timer_armed_ns : now_ns(hv) + PIC_POLL_NS;
	if (deadline != hv->timer_armed_ns)
		physical_arm_timer(hv, deadline);
}

/* Choose what V_IRQ offers to the guest; the guest takes it when IF, TPR and shadow allow. */
static void offer_interrupt(struct vcpu *vcpu)
{
	int vector = vapic_pending(guest_apic(vcpu));
	u64 vintr = SVM_V_INTR_MASKING | (vapic_tpr(guest_apic(vcpu)) >> 4);

	vcpu->posted_extint = vector < 0 && vcpu->extint >= 0;
	if (vcpu->posted_extint)
		vector = vcpu->extint;
	vcpu->posted = vector;
	/*
	 * QEMU fails an assertion at a CR8 write while V_IRQ is pending, and a lower CR8 may allow a delayed interrupt.
	 * Otherwise V_TPR has the value at the exit.
	 */
	vcpu->request.cr8_writes = vector >= 0 || vapic_requested(guest_apic(vcpu));
	if (vector >= 0)
		vintr |= SVM_V_IRQ | (u64)(vector >> 4) << SVM_V_PRIO_SHIFT | (u64)vector << SVM_V_VECTOR_SHIFT |
			 (vcpu->posted_extint ? SVM_V_IGN_TPR : 0);
	if (vector >= 0)
		vcpu->request.source = vcpu->posted_extint ? RECORD_IRQ_PIC : vcpu->irq_source[vector];
	vcpu->request.vintr = vintr;
	vcpu->vintr = vintr;
}

bool injection_guest_is_ready(struct vcpu *vcpu)
{
	return is_guest(vcpu) && hw_interrupts_enabled(vcpu->cpu) && !hw_in_shadow(vcpu->cpu) && !hw_event_pending(vcpu->cpu);
}

static u64 to_tsc(struct vcpu *vcpu, u64 ns)
{
	if (ns == NO_DEADLINE)
		return NO_DEADLINE;
	return vcpu->hv->machine->tsc_start + (u64)(((unsigned __int128)ns * vcpu->hv->machine->ns_to_tsc) >> 32);
}

/* Restricted injection of VMPL0 and Alternate Injection of the guest. */
static void update_doorbell(struct vcpu *vcpu)
{
	if (readiness_signalled(vcpu) && vcpu->vmpl != 0) {
		vmpl_return(vcpu, SVM_EXIT_INTR);
		vcpu->apic_dirty = false; /* nothing has changed since */
	}
	if (vcpu->vmpl == 0)
		doorbell_before_entry(vcpu);
}

/* One waits at most. In the shadow of STI it comes before the STI, in that of MOV to SS at the next exit. */
static void inject_nmi(struct vcpu *vcpu)
{
	if (!vcpu->nmi_pending || vcpu->nmi_blocking || vcpu->stepping || hw_event_pending(vcpu->cpu))
		return;
	if (hw_in_shadow(vcpu->cpu) && !hw_before_sti(vcpu->cpu))
		return;
	hw_inject(vcpu->cpu, SVM_EVENT_NMI | SVM_EVENT_VALID | X86_NMI);
	vcpu->nmi_pending = false;
	vcpu->nmi_blocking = NMI_BLOCKED;
	if (!vcpu->hv->es)
		hw_plain_intercept_iret(vcpu->cpu, true);
}

void injection_iret(struct vcpu *vcpu)
{
	vcpu->nmi_blocking = NMI_AT_IRET;
	hw_plain_intercept_iret(vcpu->cpu, false);
	hw_plain_run_one(vcpu->cpu);
}

void injection_after_iret(struct vcpu *vcpu)
{
	hw_plain_has_run_one(vcpu->cpu);
	injection_open_nmi(vcpu);
}

void injection_open_nmi(struct vcpu *vcpu)
{
	vcpu->nmi_blocking = NMI_OPEN;
	vcpu->apic_dirty = true;
}

static void update(struct vcpu *vcpu)
{
	vcpu->apic_dirty = false;
	timer_run_all(vcpu->hv);
	if (vcpu->pic_waiting && (injection_guest_is_ready(vcpu) || physical_pic_is_masked())) {
		vcpu->pic_waiting = false;
		physical_mirror_pic(vcpu);
	}
	if (has_doorbell(vcpu))
		update_doorbell(vcpu);
	injection_arm_timer(vcpu);
	vcpu->deadline_tsc = to_tsc(vcpu, vcpu->hv->timer_armed_ns);
	if (!is_guest(vcpu) || current(vcpu)->alternate)
		return; /* a switch of VMPLs makes it dirty again */
	inject_nmi(vcpu);
	offer_interrupt(vcpu);
	vcpu->apic_dirty = (vcpu->nmi_pending && !vcpu->nmi_blocking) || vcpu->pic_waiting;
}

void injection_before_entry(struct vcpu *vcpu)
{
	if (vcpu->apic_virtual && ((vcpu->apic_dirty && (is_guest(vcpu) || has_doorbell(vcpu))) || rdtsc() >= vcpu->deadline_tsc))
		update(vcpu);
}

static void taken(struct vcpu *vcpu)
{
	int vector = vcpu->posted;

	vcpu->posted = -1;
	if (vcpu->posted_extint)
		vcpu->extint = -1;
	else
		vapic_accept(guest_apic(vcpu), (u8)vector);
}

/* CR8 of the guest; the guest has taken the offered interrupt if V_IRQ is clear again. */
void injection_after_exit(struct vcpu *vcpu, const struct hw_exit *exit)
{
	u64 changed = exit->vintr ^ vcpu->vintr;

	vcpu->request.vintr = 0;
	if (!vcpu->apic_virtual || !is_guest(vcpu) || current(vcpu)->alternate || !(changed & (SVM_V_CR8 | SVM_V_IRQ)))
		return;
	vcpu->apic_dirty = true;
	if (changed & SVM_V_CR8)
		vapic_set_tpr(guest_apic(vcpu), (u8)((exit->vintr & SVM_V_CR8) << 4));
	if (vcpu->posted >= 0 && !(exit->vintr & SVM_V_IRQ))
		taken(vcpu);
	vcpu->vintr = exit->vintr;
}
