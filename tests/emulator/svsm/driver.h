/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the parts of the driver have in common. */
#ifndef TEST_SVSM_DRIVER_H
#define TEST_SVSM_DRIVER_H

#include "vcpu.h"

/* The next argument of the command's line: a number, 0 where there is none. */
u64 number(void);
void number_if_any(u32 *value);
struct vcpu *vcpu_argument(void);

/* driver_alternate.c: true when the command was one of its own. */
bool alternate_command(const char *name);
void alternate_forget(void);

#endif
