/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HALT_H
#define HALT_H

#include "types.h"

#define HALT_VECTOR 0x41 /* of the timer that ends a HLT if nothing else does */

/* Starts that timer. Returns whether it ticks: without it, a HLT may never end. */
bool halt_ready(void);

#endif
