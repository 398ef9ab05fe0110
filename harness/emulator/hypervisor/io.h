/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Port I/O: QEMU's devices, except those that the emulator uses itself, and those that are guarded (guard.h). */
#ifndef SNP_IO_H
#define SNP_IO_H

#include "vcpu.h"

void io_setup(struct hypervisor *hv, u8 *permissions);
bool io_is_native(const struct hypervisor *hv); /* no #VC */
u32 io_read(struct vcpu *vcpu, u16 port, u32 size);
void io_write(struct vcpu *vcpu, u16 port, u32 size, u32 value);
void io_exit(struct vcpu *vcpu, const struct hw_exit *exit); /* of a guest whose port I/O does not become #VC */
void io_string(struct vcpu *vcpu, u16 port, u32 size, bool in, u8 *buffer, u64 count);

#endif
