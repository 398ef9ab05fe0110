/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "physical_apic.h"
#include "apic.h"
#include "vectors.h"
#include "x86.h"

#define DIVIDE_BY_1 0xB

/* 8259: once the guest has masked it, it makes no more requests. */
#define PIC_MASTER_IMR 0x21
#define PIC_ALL_MASKED 0xFF

static u32 physical_read(u32 offset) { return mmio_read32(APIC_DEFAULT_BASE + offset); }
static void physical_write(u32 offset, u32 value) { mmio_write32(APIC_DEFAULT_BASE + offset, value); }

/* The logical ID follows. A message has 8 bits for it: in x2APIC mode those of the first eight vCPUs. */
void physical_set_destination(struct vcpu *vcpu)
{
	const struct vapic *apic = guest_apic(vcpu);
	u32 x2apic_id = vcpu->index < 8 ? 1u << (APIC_ID_SHIFT + vcpu->index) : 0;

	physical_write(APIC_DFR, vapic_is_x2apic(apic) ? APIC_DFR_FLAT : vapic_dfr(apic));
	physical_write(APIC_LDR, vapic_is_x2apic(apic) ? x2apic_id : vapic_ldr(apic));
}

void physical_enable(void)
{
	physical_write(APIC_SPIV, APIC_RESET_SPIV | APIC_SPIV_ENABLE);
	physical_write(APIC_TPR, 0);
}

void physical_send(u32 apic_id, u32 icr)
{
	physical_write(APIC_ICR2, apic_id << APIC_ID_SHIFT);
	physical_write(APIC_ICR, icr | (u32)APIC_ICR_ASSERT);
}

/*
 * The PIC's INTR pin. QEMU acknowledges the PIC when the hypervisor takes its interrupt, so it does
 * only when the guest can: while closed, the pin's request stays in the PIC. The write to TPR makes QEMU check it again.
 */
static void set_lint0(bool open)
{
	physical_write(APIC_LVT_LINT0, APIC_RESET_LINT0_BSP | (open ? 0 : APIC_LVT_MASKED));
	physical_write(APIC_TPR, 0);
}

void physical_mirror_pic(struct vcpu *vcpu)
{
	struct vcpu *boot = boot_vcpu(vcpu);

	set_lint0(vapic_accepts_extint(guest_apic(boot)) && !boot->pic_waiting && !has_alternate_guest(boot));
}

void physical_close_pic(void) { set_lint0(false); }
bool physical_pic_is_masked(void) { return inb(PIC_MASTER_IMR) == PIC_ALL_MASKED; }
void physical_eoi(void) { physical_write(APIC_EOI, 0); }

void physical_setup(struct vcpu *boot)
{
	physical_enable();
	physical_write(APIC_LVT_TIMER, PHYSICAL_TIMER_VECTOR);
	physical_write(APIC_TIMER_DIVIDE, DIVIDE_BY_1); /* by 1: a tick is 1 ns */
	physical_write(APIC_LVT_LINT1, APIC_DELIVER_NMI << APIC_LVT_DELIVERY_SHIFT); /* of QEMU's monitor: record.h, RECORD_GATE_ASKED */
	physical_set_destination(boot);
	physical_mirror_pic(boot);
}

void physical_arm_timer(struct hypervisor *hv, u64 deadline)
{
	u64 now, wait;

	hv->timer_armed_ns = deadline;
	if (deadline == NO_DEADLINE) {
		physical_write(APIC_TIMER_INITIAL, 0);
		return;
	}
	now = now_ns(hv);
	wait = deadline > now ? deadline - now : 1;
	physical_write(APIC_TIMER_INITIAL, wait > 0xFFFFFFFF ? 0xFFFFFFFF : (u32)wait);
}

bool physical_in_service(u32 vector, bool *level)
{
	u32 word = vector_word(vector) * 0x10;

	if (!(physical_read(APIC_ISR + word) & vector_mask(vector)))
		return false;
	*level = physical_read(APIC_TMR + word) & vector_mask(vector);
	return true;
}

/* A level-triggered interrupt is over for the guest. A physical EOI ends the highest in service: keep that order. */
void physical_end_level(struct vcpu *of, u8 vector)
{
	struct vcpu *vcpu = boot_vcpu(of);
	int top;

	if (!vector_test(vcpu->level, vector))
		return;
	vector_set(vcpu->eoi_owed, vector);
	while ((top = vector_highest(vcpu->level)) >= 0 && vector_test(vcpu->eoi_owed, (u32)top)) {
		vector_clear(vcpu->level, (u32)top);
		vector_clear(vcpu->eoi_owed, (u32)top);
		physical_eoi();
	}
}

static bool has_somewhere(struct hypervisor *hv, u32 vector)
{
	for (u32 i = 0; i < hv->vcpus; i++) {
		const struct vapic *apic = guest_apic(&hv->vcpu[i]);

		if (vapic_has(apic, (u8)vector))
			return true;
	}
	return false;
}

/* Level-triggered interrupts that came while the guest's APIC was disabled: EOI makes the device request them again. */
void physical_retry_dropped(struct vcpu *vcpu)
{
	for (u32 vector = 0; vector < VECTOR_END; vector++) {
		if (vector_test(vcpu->level, vector) && !has_somewhere(vcpu->hv, vector))
			physical_end_level(vcpu, (u8)vector);
	}
}
