/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * As KVM without KVM_CAP_ENFORCE_PV_FEATURE_CPUID: a hypercall that CPUID does not offer is carried out. Only the one for
 * IPIs is: the others do nothing that a guest could notice, since CPUID does not offer their features.
 */
#include "hypercall.h"
#include "apic.h"
#include "ipi.h"

#define HYPERCALL_SEND_IPI 10

#define ERROR_PERMISSION ((u64)-1)    /* KVM_EPERM */
#define ERROR_INVALID    ((u64)-22)   /* KVM_EINVAL */
#define ERROR_UNKNOWN    ((u64)-1000) /* KVM_ENOSYS */

/* Two bitmaps of APIC IDs, the lowest ID, the low half of an ICR value: returns how many vCPUs it reaches. */
static u64 send_ipi(struct vcpu *vcpu, const struct hypercall *call)
{
	u32 bits = call->wide ? 64 : 32;
	u64 icr = (u32)call->argument[3], reached = 0;

	if (icr & (APIC_ICR_LOGICAL | APIC_ICR_SHORTHAND))
		return ERROR_INVALID;
	for (u32 i = 0; i < 2 * bits; i++) {
		u64 id = (u64)(u32)(call->argument[2] + i / bits * bits) + i % bits;

		if (id < HW_CPUS && call->argument[i / bits] & BIT(i % bits))
			reached += ipi_send(vcpu, icr | id << APIC_ICR_DESTINATION_SHIFT);
	}
	return reached;
}

u64 hypercall(struct vcpu *vcpu, struct hypercall call)
{
	u64 result = ERROR_UNKNOWN;

	if (call.cpl)
		result = ERROR_PERMISSION;
	else if (vcpu->apic_virtual && (call.wide ? call.number : (u32)call.number) == HYPERCALL_SEND_IPI)
		result = send_ipi(vcpu, &call);
	return call.wide ? result : (u32)result;
}
