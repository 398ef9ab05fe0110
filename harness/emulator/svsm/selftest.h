/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Tests of the SVSM in itself, in place of a guest, with the lines and the end of COCONUT's test images.
 */
#ifndef SVSM_SELFTEST_H
#define SVSM_SELFTEST_H

#include "vcpu.h"

/* Runs the tests on vCPU 0, with the others online, and ends the machine by isa-debug-exit. */
_Noreturn void selftest(struct vcpu *vcpu);

#endif
