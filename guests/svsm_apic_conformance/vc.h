/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VC_H
#define VC_H

#include "trap.h"

/* The #VC handler, for struct trap_hooks: CPUID from the CPUID page, RDTSC by the GHCB. */
bool vc_handle(struct trap_frame *frame);

#endif
