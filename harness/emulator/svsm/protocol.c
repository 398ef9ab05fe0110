/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "protocol.h"

/* A switch, not an array: pointers in static data would need relocations (svsm.ld). */
bool protocol_find(const struct vcpu *vcpu, u32 number, struct protocol *protocol)
{
	switch (number) {
	case SVSM_PROTOCOL_CORE:
		*protocol = (struct protocol){
			.version_min = SVSM_CORE_VERSION_MIN,
			.version_max = SVSM_CORE_VERSION_MAX,
			.request = protocol_core_request,
		};
		return true;
	case SVSM_PROTOCOL_APIC:
		*protocol = (struct protocol){
			.version_min = SVSM_APIC_VERSION_MIN,
			.version_max = SVSM_APIC_VERSION_MAX,
			.request = vcpu->svsm->boot.faults ? faults_apic_request : protocol_apic_request,
		};
		return protocol_apic_offered(vcpu) && !faults_lose_apic_protocol(vcpu->svsm);
	default:
		return false;
	}
}

u64 protocol_dispatch(struct vcpu *vcpu, struct svsm_request *request)
{
	struct protocol protocol;
	u64 result;

	if (faults_answer(vcpu->svsm, SVSM_CALL(request->protocol, request->call), &result))
		return result;
	if (!protocol_find(vcpu, request->protocol, &protocol))
		return SVSM_ERR_UNSUPPORTED_PROTOCOL;
	return protocol.request(vcpu, request);
}
