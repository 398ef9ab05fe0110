/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "alternate.h"

#include "console.h"
#include "doorbell.h"
#include "ghcb_call.h"
#include "hardware.h"
#include "ipi_destination.h"
#include "nae.h"
#include "sev.h"

#define HOST_REFUSALS_SHOWN 8

bool alternate_wanted(const struct svsm *svsm)
{
	return svsm->boot.guest_features & SEV_FEATURES_ALTERNATE_INJECTION;
}

u64 alternate_feature(const struct svsm *svsm)
{
	return svsm->boot.flags & SVSM_BOOT_FEATURE_BIT_7 ? HV_FEATURE_ALTERNATE_INJECTION_OLD :
							    HV_FEATURE_ALTERNATE_INJECTION;
}

bool alternate_init(struct vcpu *vcpu)
{
	u8 *page = vcpu_areas[vcpu->index].doorbell;
	u64 gpa = (u64)page; /* VA = GPA */

	if (!alternate_wanted(vcpu->svsm))
		return true;
	page = ghcb_share_page(gpa);
	if (!page) {
		console_line(vcpu, "SVSM: the doorbell page %lx cannot be shared (PVALIDATE, page state change)", gpa);
		return false;
	}
	if (!nae_set_doorbell(vcpu, gpa) || !nae_configure_injection(vcpu, SVSM_VECTOR_INJECTION)) {
		console_line(vcpu, "SVSM: the hypervisor refused the doorbell page %lx (NAE events %x and %x)", gpa,
			     NAE_HV_DOORBELL, NAE_CONFIGURE_INJECTION);
		return false;
	}
	vcpu->doorbell = page;
	lapic_init(&vcpu->lapic, vcpu->apic_id);
	if (!apic_timer_init(vcpu)) {
		console_line(vcpu, "SVSM: the hypervisor refused VMPL0's x2APIC mode (NAE event %x): "
			     "configure the SVSM without the timer", NAE_MSR);
		return false;
	}
	vcpu->emulation = true;
	return true;
}

void alternate_reset(struct vcpu *vcpu)
{
	if (!vcpu->emulation)
		return;
	apic_timer_stop(vcpu);
	lapic_take_ipis(&vcpu->lapic, &vcpu->inbox);
	lapic_init(&vcpu->lapic, vcpu->apic_id);
}

/* The guest's side of an operation; the calling area is read once. */
static struct lapic_guest guest_begin(struct vcpu *vcpu, struct vmsa *vmsa)
{
	struct lapic_guest guest = { .vmsa = vmsa };
	u64 header;

	guest.has_caa = guest_read64(vcpu->caa_gpa, &header);
	guest.no_eoi_required = (u8)(header >> (8 * SVSM_CAA_NO_EOI_REQUIRED));
	return guest;
}

/* If another vCPU has removed the page meanwhile, only its guest is harmed. */
static void write_no_eoi_required(struct vcpu *vcpu, const struct lapic_guest *guest)
{
	if (guest->has_caa)
		guest_write8(vcpu->caa_gpa + SVSM_CAA_NO_EOI_REQUIRED, guest->no_eoi_required);
}

static void tell_host_eois(struct vcpu *vcpu)
{
	u8 vector;

	while (lapic_next_host_eoi(&vcpu->lapic, &vector))
		if (!nae_specific_eoi(vcpu, vector) && ++vcpu->host_refusals <= HOST_REFUSALS_SHOWN)
			console_line(vcpu, "SVSM: vCPU %u: the hypervisor refused the EOI of vector %x (NAE event %x)%s",
				     vcpu->index, vector, NAE_SPECIFIC_EOI,
				     vcpu->host_refusals == HOST_REFUSALS_SHOWN ? " (the last one shown)" : "");
}

void alternate_present(struct vcpu *vcpu, struct vmsa *vmsa)
{
	struct doorbell_events events;
	struct lapic_guest guest;

	if (!vcpu->doorbell)
		return;
	events = doorbell_take(vcpu->doorbell, vcpu->svsm->boot.guest_vmpl);
	if (events.machine_check) {
		console_line(vcpu, "SVSM: the hypervisor reports a machine check: ends the guest");
		ghcb_terminate(SVSM_TERM_MACHINE_CHECK);
	}
	if (!vcpu->emulation)
		return;
	if (events.vector == SVSM_VECTOR_TIMER)
		apic_timer_expired(vcpu, events.eoi);
	if (events.guest)
		lapic_take_host(&vcpu->lapic, doorbell_entry(vcpu->doorbell, vcpu->svsm->boot.guest_vmpl));
	lapic_take_ipis(&vcpu->lapic, &vcpu->inbox);
	if (!vcpu->lapic.update)
		return;
	guest = guest_begin(vcpu, vmsa);
	lapic_present(&vcpu->lapic, &guest);
	write_no_eoi_required(vcpu, &guest);
	tell_host_eois(vcpu);
}

u64 alternate_read(struct vcpu *vcpu, u64 msr, u64 *value)
{
	struct lapic_guest guest;
	u64 result;

	if (apic_timer_has(vcpu, msr))
		return apic_timer_read(vcpu, msr, value);
	guest = guest_begin(vcpu, guest_vmsa(vcpu->vmsa_gpa));
	result = lapic_read(&vcpu->lapic, &guest, msr, value);
	tell_host_eois(vcpu);
	return result;
}

/* An IPI for other vCPUs: it is put into their inboxes, then the hypervisor must enter the SVSM on them. */
static void send_ipi(struct vcpu *vcpu, u64 icr)
{
	const u64 destination = APIC_ICR_LOGICAL | APIC_ICR_SHORTHAND | (u64)APIC_BROADCAST << APIC_ICR_DESTINATION_SHIFT;
	bool sent = false;

	for (u32 i = 0; i < vcpu->svsm->vcpus; i++) {
		struct vcpu *target = &vcpu_areas[i].vcpu;

		if (target == vcpu || !target->online || !x2apic_ipi_reaches(icr, vcpu->apic_id, target->apic_id))
			continue;
		lapic_send(&target->inbox, icr);
		sent = true;
	}
	if (!sent)
		return;
	icr &= destination;
	if ((icr & APIC_ICR_SHORTHAND) == APIC_SHORTHAND_ALL)
		icr |= APIC_SHORTHAND_OTHERS; /* this vCPU has received its own IPI already */
	if (!nae_ipi(vcpu, icr | SVSM_VECTOR_INJECTION) && ++vcpu->host_refusals <= HOST_REFUSALS_SHOWN)
		console_line(vcpu, "SVSM: vCPU %u: the hypervisor refused an IPI (NAE event %x)", vcpu->index, NAE_HV_IPI);
}

u64 alternate_write(struct vcpu *vcpu, u64 msr, u64 value)
{
	struct lapic_guest guest;
	u64 result;

	if (apic_timer_has(vcpu, msr))
		return apic_timer_write(vcpu, msr, value);
	guest = guest_begin(vcpu, guest_vmsa(vcpu->vmsa_gpa));
	result = lapic_write(&vcpu->lapic, &guest, msr, value);
	tell_host_eois(vcpu);
	if (result == SVSM_SUCCESS && msr == MSR_X2APIC_FIRST + APIC_ICR / 16)
		send_ipi(vcpu, value);
	return result;
}

void alternate_forget_caa(struct vcpu *vcpu)
{
	struct lapic_guest guest;

	if (!vcpu->emulation)
		return;
	guest = guest_begin(vcpu, guest_vmsa(vcpu->vmsa_gpa));
	lapic_forget_caa(&vcpu->lapic, &guest);
	tell_host_eois(vcpu);
}

void alternate_disable(struct vcpu *vcpu)
{
	struct vmsa *vmsa = guest_vmsa(vcpu->vmsa_gpa);
	struct lapic_guest guest;

	if (!vcpu->emulation)
		return;
	apic_timer_stop(vcpu);
	guest = guest_begin(vcpu, vmsa);
	lapic_hand_over(&vcpu->lapic, &guest, doorbell_entry(vcpu->doorbell, vcpu->svsm->boot.guest_vmpl));
	write_no_eoi_required(vcpu, &guest);
	tell_host_eois(vcpu);
	vmsa->sev_features &= ~SEV_FEATURES_ALTERNATE_INJECTION;
	if (!nae_disable_alternate_injection(vcpu, lapic_tpr(vmsa), lapic_in_shadow(vmsa), lapic_interrupts_enabled(vmsa))) {
		console_line(vcpu, "SVSM: vCPU %u: the hypervisor refused to take the guest's interrupts over (NAE event %x)",
			     vcpu->index, NAE_DISABLE_ALTERNATE_INJECTION);
		ghcb_terminate(SVSM_TERM_INJECTION);
	}
	vcpu->emulation = false;
}
