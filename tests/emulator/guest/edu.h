/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QEMU's edu device (its docs/specs/edu.rst): copies between memory and its buffer, at any address. */
#ifndef GUEST_EDU_H
#define GUEST_EDU_H

#include "types.h"

void edu_setup(void);
void edu_load(u64 gpa, u32 size);  /* from memory into its buffer */
void edu_store(u64 gpa, u32 size); /* from its buffer to memory */
/* It writes `data` to an address that processors' APICs claim, in 100 ms: a message (PCI 3.0, 6.8; SDM vol. 3A, 11.11). */
void edu_begin_message(u32 apic_id, bool logical, u32 data);
bool edu_is_done(void);

#endif
