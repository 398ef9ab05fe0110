/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The SVSM's console: a 16550 UART of its own, by IOIO NAE events.
 */
#ifndef SVSM_CONSOLE_H
#define SVSM_CONSOLE_H

#include "vcpu.h"

/* 8N1, FIFO on. Requires the vCPU's GHCB. False: the hypervisor refuses the port. */
bool console_init(struct vcpu *vcpu);

/* Prints a line of at most 159 characters, without its newline. No output before console_init(). See format.h. */
void console_line(struct vcpu *vcpu, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
