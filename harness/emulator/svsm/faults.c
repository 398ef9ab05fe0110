/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "protocol.h"

/* Whether the fault occurs now: it is configured, and this is each n-th occasion behind `fault_after`. */
static bool due(struct svsm *svsm, u32 fault)
{
	u32 every = svsm->boot.fault_every ? svsm->boot.fault_every : 1, after = svsm->boot.fault_after;
	u32 occasion;

	if (!(svsm->boot.faults & fault))
		return false;
	occasion = __atomic_add_fetch(&svsm->fault_occasions[__builtin_ctz(fault)], 1, __ATOMIC_SEQ_CST);
	return occasion > after && (occasion - after) % every == 0;
}

bool faults_lose_apic_protocol(struct svsm *svsm) { return due(svsm, SVSM_FAULT_PROTOCOL); }

bool faults_answer(struct svsm *svsm, u64 call, u64 *result)
{
	if (call != svsm->boot.fault_call || !due(svsm, SVSM_FAULT_CALL))
		return false;
	*result = svsm->boot.fault_result;
	return true;
}

bool faults_keep_pending(struct svsm *svsm, u64 call)
{
	return call == svsm->boot.fault_call && due(svsm, SVSM_FAULT_PENDING);
}

static bool names_register(const struct svsm *svsm, const struct svsm_request *request)
{
	return (request->call == SVSM_APIC_READ_REGISTER || request->call == SVSM_APIC_WRITE_REGISTER) &&
	       request->rcx == svsm->boot.fault_register;
}

u64 faults_apic_request(struct vcpu *vcpu, struct svsm_request *request)
{
	struct svsm *svsm = vcpu->svsm;
	u64 result;

	if (due(svsm, SVSM_FAULT_BUSY))
		return SVSM_ERR_BUSY;
	if (due(svsm, SVSM_FAULT_INCOMPLETE))
		return SVSM_ERR_INCOMPLETE;
	if (names_register(svsm, request) && due(svsm, SVSM_FAULT_REGISTER))
		result = SVSM_ERR_INVALID_ADDRESS;
	else
		result = protocol_apic_request(vcpu, request);
	if (result != SVSM_SUCCESS && due(svsm, SVSM_FAULT_RESULT))
		result = svsm->boot.fault_result;
	return result;
}
