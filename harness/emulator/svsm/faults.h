/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the SVSM does wrong on purpose, so that a guest's handling of it can be tested (SVSM_FAULT_*).
 */
#ifndef SVSM_FAULTS_H
#define SVSM_FAULTS_H

#include "protocol.h"

/* protocol_apic_request() with the faults of the boot block. */
u64 faults_apic_request(struct vcpu *vcpu, struct svsm_request *request);

#endif
