/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HALT_H
#define HALT_H

/*
 * STI and HLT: until an interrupt. The one thing here that has no time limit of its own: there is no source of
 * interrupts beside the one under test. Who waits for the run sees that nothing follows.
 */
static inline void halt_once(void) { __asm__ volatile("sti; hlt; cli" : : : "memory"); }

#endif
