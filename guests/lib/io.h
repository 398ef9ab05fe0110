/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ports, MMIO and MSRs: through the GHCB with SEV, otherwise directly. */
#ifndef GUEST_IO_H
#define GUEST_IO_H

#include "types.h"

u32 io_in(u16 port, u32 size);
void io_out(u16 port, u32 size, u32 value);
u64 mmio_in(u64 gpa, u32 size);
void mmio_out(u64 gpa, u32 size, u64 value);
bool msr_in(u32 msr, u64 *value); /* false: #GP */
bool msr_out(u32 msr, u64 value);

/* The two 8259s. */
#define PIC_COMMAND       0x20
#define PIC_MASK          0x21
#define PIC_MASK_SECOND   0xA1
static inline void pic_mask_all(void)
{
	io_out(PIC_MASK, 1, 0xFF);
	io_out(PIC_MASK_SECOND, 1, 0xFF);
}

#endif
