/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "smp.h"
#include "apic_access.h"

void to_x2apic(struct ap *ap)
{
	ap->value[0] = ap_msr_out(ap, MSR_APIC_BASE, APIC_DEFAULT_BASE | MODE_BITS);
	ap->value[1] = ap_msr_in(ap, X2(APIC_ID));
	ap->value[2] = ap_msr_in(ap, X2(APIC_LDR));
	ap->value[3] = ap_msr_out(ap, X2(APIC_SPIV), 0x1FF);
}

volatile u64 takers[256];

void note_taker(u8 vector) { takers[vector] |= BIT(ap_self()); }

static u64 end_of_interrupt(struct ap *ap)
{
	if (has_svsm() && (ap_features() & SEV_FEATURES_ALTERNATE_INJECTION))
		return ap_svsm_call(ap, SVSM_CALL(SVSM_PROTOCOL_APIC, SVSM_APIC_WRITE_REGISTER), X2(APIC_EOI), 0).rax;
	return !ap_msr_out(ap, X2(APIC_EOI), 0);
}

static volatile bool released;

void take_interrupts(struct ap *ap)
{
	ap->value[0] = 1;
	sti();
	while (!released)
		pause();
	cli();
	ap->value[1] = end_of_interrupt(ap);
}

void halt(struct ap *ap)
{
	ap->value[0] = 1;
	halt_once();
	ap->value[1] = end_of_interrupt(ap);
}

void one_does(u64 index, void (*command)(struct ap *ap))
{
	released = false;
	aps[index].value[0] = 0;
	ap_command(index, command);
	while (!aps[index].value[0])
		pause();
}

void all_do(void (*command)(struct ap *ap))
{
	for (u64 i = 1; i < parameters->vcpus; i++)
		one_does(i, command);
}

bool all_done(void)
{
	released = true;
	for (u64 i = 1; i < parameters->vcpus; i++) {
		if (!ap_wait(i))
			return false;
	}
	return true;
}

void send(u64 icr) { apic_write(APIC_ICR, icr); }

void prepare(void)
{
	apic_prepare(MODE_BITS);
	for (u64 i = 1; i < parameters->vcpus; i++)
		ap_run(i, to_x2apic);
	for (u32 i = 0; i < 256; i++)
		takers[i] = 0;
	on_interrupt = note_taker;
}
