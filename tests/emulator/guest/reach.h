/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Devices through which a guest could reach the emulator: reach.c, used by tests and endings. */
#ifndef REACH_H
#define REACH_H

#include "types.h"

#define PCI_ADDRESS    0xCF8
#define PCI_DATA       0xCFC
#define HOST_BRIDGE    0x0000u /* 00:00.0 */
#define HOST_BRIDGE_ID 0x29C08086u
#define PCIEXBAR       0x60u
#define LPC            0x00F8u /* 00:1f.0 */
#define SHARED_MEMORY  0x0088u /* 00:11.0, run.py: QEMU's ivshmem, of which BAR 2 is RAM */
#define SERIAL         0x0090u /* 00:12.0, run.py: BAR 0 is 8 ports */
#define PMBASE         0x40u
#define ACPI_CONTROL   0x44u
#define RCBA           0xF0u

u32 pci_read(u32 function, u32 offset);
void pci_write(u32 function, u32 offset, u32 value);
void pciexbar_write(u64 base, u32 bits);

/* QEMU's docs/specs/fw_cfg.rst: a DMA command. SELECT is for the signature. Returns the control field that is left. */
#define FW_CFG_READ   0x02u
#define FW_CFG_SKIP   0x04u
#define FW_CFG_SELECT 0x08u
#define FW_CFG_WRITE  0x10u
u32 fw_cfg_dma(u32 control, u32 length, u64 address);

#endif
