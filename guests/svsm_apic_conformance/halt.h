/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HALT_H
#define HALT_H

#include "types.h"

#define HALT_VECTOR 0x41 /* of the timer that ends a HLT which nothing else ends */

/* Starts that timer, and says whether it ticks: where it does not, nothing may be halted. */
bool halt_ready(void);
/* STI and HLT: until an interrupt. */
static inline void halt_once(void) { __asm__ volatile("sti; hlt; cli" : : : "memory"); }

#endif
