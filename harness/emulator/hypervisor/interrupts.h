/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Physical interrupts: when they are let in. */
#ifndef SNP_INTERRUPTS_H
#define SNP_INTERRUPTS_H

#include "vcpu.h"

void interrupts_setup(void);
void interrupts_take(void); /* those that are pending */
void interrupts_wait(void); /* sleep until one was taken */

#endif
