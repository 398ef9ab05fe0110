/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "reach.h"
#include "guest.h"

static void address(u32 function, u32 offset) { io_out(PCI_ADDRESS, 4, 0x80000000 | function << 8 | offset); }

u32 pci_read(u32 function, u32 offset)
{
	address(function, offset);
	return io_in(PCI_DATA, 4);
}

void pci_write(u32 function, u32 offset, u32 value)
{
	address(function, offset);
	io_out(PCI_DATA, 4, value);
}

/* Disabled while it moves, as firmware does it. */
void pciexbar_write(u64 base, u32 bits)
{
	pci_write(HOST_BRIDGE, PCIEXBAR, 0);
	pci_write(HOST_BRIDGE, PCIEXBAR + 4, (u32)(base >> 32));
	pci_write(HOST_BRIDGE, PCIEXBAR, (u32)base | bits);
}

u32 fw_cfg_dma(u32 control, u32 length, u64 address)
{
	volatile a32 *command = (volatile a32 *)(u64)(sev() ? BUFFER_PAGE : TEST_AREA + 0x21000);

	command[0] = __builtin_bswap32(control);
	command[1] = __builtin_bswap32(length);
	*(volatile a64 *)(command + 2) = __builtin_bswap64(address);
	io_out(0x514, 4, __builtin_bswap32((u32)((u64)command >> 32)));
	io_out(0x518, 4, __builtin_bswap32((u32)(u64)command));
	return __builtin_bswap32(command[0]);
}
