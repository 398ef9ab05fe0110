/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The SVSM on the other vCPUs: each gets a VMSA for VMPL0 at the SVSM's start, and waits for the guest's CREATE_VCPU.
 */
#ifndef SVSM_AP_H
#define SVSM_AP_H

#include "vcpu.h"

/* Starts all of them, and waits until each is ready; false, with a line on the console, when the hypervisor refuses. */
bool ap_start_all(struct vcpu *boot);

/* Called by entry.S. */
_Noreturn void ap_main(void);

#endif
