/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * DMA of QEMU's fw_cfg device (QEMU's docs/specs/fw_cfg.rst). The device reaches all memory, so the hypervisor carries the
 * commands out: through a buffer of its own, and with the rights of a device, which are the shared pages.
 */
#ifndef SNP_FW_CFG_H
#define SNP_FW_CFG_H

#include "vcpu.h"

#define FW_CFG_DMA      0x514u  /* the address of a command, high half first; the low half starts it */

#define FW_CFG_CONTINUE 0xFFFFu /* not an item: the one that was read last, from where it was left */

void fw_cfg_setup(struct hypervisor *hv);
/* Reads `size` bytes of an item for the hypervisor itself, or less, as `size` says then. NULL: QEMU refuses it. */
const u8 *fw_cfg_read(struct hypervisor *hv, u16 item, u32 *size);
void fw_cfg_dma(struct vcpu *vcpu, u16 port, u32 size, u32 value);

#endif
