/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * APIC protocol (COCONUT kernel/src/protocols/apic.rs), while the calling vCPU's APIC is the SVSM's.
 */
#include "alternate.h"
#include "protocol.h"

bool protocol_apic_offered(const struct vcpu *vcpu)
{
	return vcpu->emulation && (vcpu->svsm->boot.flags & SVSM_BOOT_APIC_PROTOCOL);
}

/* RCX out: feature bits. */
static u64 query_features(struct vcpu *vcpu, struct svsm_request *request)
{
	request->rcx = vcpu->svsm->boot.flags & SVSM_BOOT_TIMER ? SVSM_APIC_FEATURE_TIMER : 0;
	return SVSM_SUCCESS;
}

/* The count stays 0: a vCPU may have ended its emulation. */
static bool count_up(u32 *registrations)
{
	u32 count = __atomic_load_n(registrations, __ATOMIC_SEQ_CST);

	do {
		if (count == 0 || count == UINT32_MAX)
			return false;
	} while (!__atomic_compare_exchange_n(registrations, &count, count + 1, false, __ATOMIC_SEQ_CST,
					      __ATOMIC_SEQ_CST));
	return true;
}

static void count_down(u32 *registrations)
{
	u32 count = __atomic_load_n(registrations, __ATOMIC_SEQ_CST);

	do {
		if (count == 0)
			return;
	} while (!__atomic_compare_exchange_n(registrations, &count, count - 1, false, __ATOMIC_SEQ_CST,
					      __ATOMIC_SEQ_CST));
}

/* RCX: enum svsm_apic_configure. The count is for the whole guest; emulation ends on each vCPU by its own call. */
static u64 configure(struct vcpu *vcpu, struct svsm_request *request)
{
	u32 *registrations = &vcpu->svsm->apic_registrations;

	switch (request->rcx) {
	case SVSM_APIC_CONFIGURE_QUERY:
		break;
	case SVSM_APIC_CONFIGURE_DEREGISTER:
		count_down(registrations);
		break;
	case SVSM_APIC_CONFIGURE_REGISTER:
		return count_up(registrations) ? SVSM_SUCCESS : SVSM_APIC_ERR_CANNOT_REGISTER;
	default:
		return SVSM_ERR_INVALID_PARAMETER;
	}
	if (__atomic_load_n(registrations, __ATOMIC_SEQ_CST) == 0)
		alternate_disable(vcpu);
	return SVSM_SUCCESS;
}

/* RCX: SVSM_APIC_VECTOR_*. */
static u64 configure_vector(struct vcpu *vcpu, struct svsm_request *request)
{
	bool allowed = request->rcx & SVSM_APIC_VECTOR_ENABLE;

	if (request->rcx & ~(SVSM_APIC_VECTOR_MASK | SVSM_APIC_VECTOR_ENABLE | SVSM_APIC_VECTOR_ALL))
		return SVSM_ERR_INVALID_PARAMETER;
	if (request->rcx & SVSM_APIC_VECTOR_ALL)
		lapic_allow_all(&vcpu->lapic, allowed);
	else
		lapic_allow(&vcpu->lapic, request->rcx & SVSM_APIC_VECTOR_MASK, allowed);
	return SVSM_SUCCESS;
}

u64 protocol_apic_request(struct vcpu *vcpu, struct svsm_request *request)
{
	switch (request->call) {
	case SVSM_APIC_QUERY_FEATURES:
		return query_features(vcpu, request);
	case SVSM_APIC_CONFIGURE:
		return configure(vcpu, request);
	case SVSM_APIC_READ_REGISTER: /* RCX: MSR; RDX out */
		return alternate_read(vcpu, request->rcx, &request->rdx);
	case SVSM_APIC_WRITE_REGISTER: /* RCX: MSR; RDX: value */
		return alternate_write(vcpu, request->rcx, request->rdx);
	case SVSM_APIC_CONFIGURE_VECTOR:
		return configure_vector(vcpu, request);
	default:
		return SVSM_ERR_UNSUPPORTED_CALL;
	}
}
