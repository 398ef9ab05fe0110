/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The SVSM's console: a 16550 UART of its own, by IOIO NAE events.
 */
#ifndef SVSM_CONSOLE_H
#define SVSM_CONSOLE_H

#include "vcpu.h"

/* 8N1, FIFO on. Needs the vCPU's GHCB; false when the hypervisor refuses the port. */
bool console_init(struct vcpu *vcpu);

/* One line, without its newline, at most 159 characters; nothing before console_init(). See format.h. */
void console_line(struct vcpu *vcpu, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
