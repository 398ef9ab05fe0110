/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The SVSM on the other vCPUs: each has a VMSA for VMPL0 from the SVSM's start on, and waits for CREATE_VCPU.
 */
#ifndef SVSM_AP_H
#define SVSM_AP_H

#include "vcpu.h"

/* Starts all of them and waits until each is ready. False: the hypervisor refuses, which is reported on the console. */
bool ap_start_all(struct vcpu *boot);

/* Called by entry.S. */
_Noreturn void ap_main(void);

#endif
