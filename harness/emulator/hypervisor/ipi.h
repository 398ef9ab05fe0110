/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Interrupts between vCPUs, or to oneself. */
#ifndef SNP_IPI_H
#define SNP_IPI_H

#include "vcpu.h"

u32 ipi_send(struct vcpu *vcpu, u64 icr); /* to the APICs of the VMPL that runs, how many; `icr`: x2APIC form */
void ipi_from_device(struct hypervisor *hv, u64 icr, bool level); /* Fixed or lowest priority, to guests' APICs */
bool ipi_hv(struct vcpu *vcpu, u64 icr);   /* #HV IPI; false: not a Fixed one */

#endif
