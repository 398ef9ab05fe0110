/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "catch.h"
#include "injection.h"
#include "interrupts.h"
#include "ioapic.h"
#include "ipi.h"
#include "physical_apic.h"
#include "readiness.h"
#include "vectors.h"

void devices_interrupt(struct vcpu *vcpu)
{
	struct vcpu *boot = boot_vcpu(vcpu);
	u64 before = vcpu->hv->interrupts;

	vcpu->apic_dirty = true;
	if (injection_guest_is_ready(boot) || has_alternate_guest(boot)) { /* then the PIC is closed off */
		interrupts_take();
	} else {
		physical_close_pic();
		interrupts_take();
		boot->pic_waiting = vapic_accepts_extint(guest_apic(boot)) && vcpu->hv->interrupts == before;
		physical_mirror_pic(boot);
	}
	readiness_tick(vcpu);
}

void device_interrupt(struct vcpu *running, u32 vector)
{
	struct vcpu *vcpu = boot_vcpu(running); /* whose APIC ID it is */
	bool level;
	u64 icr;

	vcpu->hv->interrupts++;
	vcpu->apic_dirty = true;
	if (vector == X86_NMI) { /* of a device: an I/O APIC entry or an MSI in NMI mode; or the harness ends the guest's turn */
		vcpu->nmi_pending |= !ring_gate_asked(vcpu->hv->machine);
		return;
	}
	if (!physical_in_service(vector, &level)) {
		vcpu->extint = (int)vector; /* from the PIC: there is nothing in service */
		return;
	}
	if (vector == PHYSICAL_TIMER_VECTOR) {
		vcpu->hv->timer_armed_ns = NO_DEADLINE;
		physical_eoi();
		catch_collect(vcpu->hv);
		return;
	}
	if (level) /* An EOI now would raise it again at once: the line stays high until the guest has served the device. */
		vector_set(vcpu->level, vector);
	else
		physical_eoi();
	if (level && ioapic_route(vcpu->hv, (u8)vector, &icr))
		ipi_from_device(vcpu->hv, icr, level);
	else
		post_interrupt(vcpu, guest_apic(vcpu), (u8)vector, level, RECORD_IRQ_IOAPIC);
}
