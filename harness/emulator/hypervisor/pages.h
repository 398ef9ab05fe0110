/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Page states: private, shared or not assigned, as KVM has them, and the #NPFs that change them. */
#ifndef SNP_PAGES_H
#define SNP_PAGES_H

#include "vcpu.h"

void pages_launch(struct hypervisor *hv, enum psp_page type, u64 gpa, u64 size, u8 *contents); /* assigned, then SNP_LAUNCH_UPDATE */
void pages_all_shared(struct hypervisor *hv); /* without SEV */
/* Resolve an #NPF and repeat the access: `exit` is the result. False: the GPA has no memory. */
bool pages_fault(struct vcpu *vcpu, struct hw_exit *exit);
/* Page state change by MSR protocol 014 or NAE 80000010: false when the hypervisor refuses. */
bool pages_change(struct vcpu *vcpu, u64 gpa, u32 operation, bool large);

#endif
