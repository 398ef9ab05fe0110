/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Deliberate faults of the SVSM, to test how a guest handles them (SVSM_FAULT_*).
 */
#ifndef SVSM_FAULTS_H
#define SVSM_FAULTS_H

#include "protocol.h"

/* protocol_apic_request() with the faults of the boot block. */
u64 faults_apic_request(struct vcpu *vcpu, struct svsm_request *request);

#endif
