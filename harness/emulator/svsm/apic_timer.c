/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "apic_timer.h"

#include "doorbell.h"
#include "nae.h"

#define MSR_OF(offset) (MSR_X2APIC_FIRST + (offset) / 16)

#define LVT_WRITABLE (APIC_LVT_VECTOR | APIC_LVT_MASKED | APIC_TIMER_PERIODIC) /* no TSC deadline */

static bool served(const struct vcpu *vcpu)
{
	return vcpu->svsm->boot.flags & SVSM_BOOT_TIMER;
}

static u32 own_lvt(u32 lvt)
{
	return (lvt & ~APIC_LVT_VECTOR) | SVSM_VECTOR_TIMER;
}

bool apic_timer_init(struct vcpu *vcpu)
{
	u64 base;

	if (!served(vcpu))
		return true;
	vcpu->timer.lvt = APIC_RESET_LVT;
	/* xAPIC to x2APIC: the legal way (APM vol. 2, 16.9), and no MMIO page to share. */
	return nae_read_msr(vcpu, MSR_APIC_BASE, &base) &&
	       nae_write_msr(vcpu, MSR_APIC_BASE, base | APIC_BASE_EN | APIC_BASE_EXTD) &&
	       nae_write_msr(vcpu, MSR_OF(APIC_SPIV), APIC_SPIV_ENABLE | APIC_SPIV_VECTOR);
}

bool apic_timer_has(const struct vcpu *vcpu, u64 msr)
{
	return served(vcpu) && (msr == MSR_OF(APIC_LVT_TIMER) || msr == MSR_OF(APIC_TIMER_INITIAL) ||
				msr == MSR_OF(APIC_TIMER_CURRENT) || msr == MSR_OF(APIC_TIMER_DIVIDE));
}

u64 apic_timer_read(struct vcpu *vcpu, u64 msr, u64 *value)
{
	u64 current;

	switch (msr) {
	case MSR_OF(APIC_LVT_TIMER):
		*value = vcpu->timer.lvt;
		return SVSM_SUCCESS;
	case MSR_OF(APIC_TIMER_INITIAL):
		*value = vcpu->timer.initial;
		return SVSM_SUCCESS;
	case MSR_OF(APIC_TIMER_DIVIDE):
		*value = vcpu->timer.divide;
		return SVSM_SUCCESS;
	default:
		if (!nae_read_msr(vcpu, MSR_OF(APIC_TIMER_CURRENT), &current))
			return SVSM_ERR_INVALID_REQUEST;
		*value = (u32)current;
		return SVSM_SUCCESS;
	}
}

/* The hypervisor's timer event replaces writes of three MSRs. */
static bool start(struct vcpu *vcpu, u32 initial)
{
	if (vcpu->svsm->hv_features & HV_FEATURE_RESTRICTED_INJECTION_TIMER)
		return nae_set_timer(vcpu, own_lvt(vcpu->timer.lvt), vcpu->timer.divide, initial);
	return nae_write_msr(vcpu, MSR_OF(APIC_TIMER_INITIAL), initial);
}

/* The vCPU's own timer is set first: a register keeps its value if the hypervisor refuses. */
u64 apic_timer_write(struct vcpu *vcpu, u64 msr, u64 value)
{
	u32 *keep;
	bool done;

	switch (msr) {
	case MSR_OF(APIC_LVT_TIMER):
		if (value & ~(u64)LVT_WRITABLE)
			return SVSM_ERR_INVALID_PARAMETER;
		keep = &vcpu->timer.lvt;
		done = nae_write_msr(vcpu, MSR_OF(APIC_LVT_TIMER), own_lvt((u32)value));
		break;
	case MSR_OF(APIC_TIMER_DIVIDE):
		if (value & ~(u64)APIC_DIVIDE_MASK)
			return SVSM_ERR_INVALID_PARAMETER;
		keep = &vcpu->timer.divide;
		done = nae_write_msr(vcpu, MSR_OF(APIC_TIMER_DIVIDE), value);
		break;
	case MSR_OF(APIC_TIMER_INITIAL):
		if (value > UINT32_MAX)
			return SVSM_ERR_INVALID_PARAMETER;
		keep = &vcpu->timer.initial;
		done = start(vcpu, (u32)value);
		break;
	default: /* the current count */
		return SVSM_ERR_INVALID_PARAMETER;
	}
	if (!done)
		return SVSM_ERR_INVALID_REQUEST;
	*keep = (u32)value;
	return SVSM_SUCCESS;
}

void apic_timer_expired(struct vcpu *vcpu, bool eoi)
{
	u8 vector = vcpu->timer.lvt & APIC_LVT_VECTOR;

	if (!served(vcpu))
		return; /* the timer cannot have fired */
	if (eoi)
		nae_write_msr(vcpu, MSR_OF(APIC_EOI), 0);
	if (!(vcpu->timer.lvt & APIC_LVT_MASKED) && vector >= APIC_FIRST_LEGAL_VECTOR)
		lapic_post(&vcpu->lapic, vector);
}

void apic_timer_stop(struct vcpu *vcpu)
{
	if (served(vcpu) && vcpu->timer.initial != 0)
		apic_timer_write(vcpu, MSR_OF(APIC_TIMER_INITIAL), 0);
}
