/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "machine.h"

void *machine_take(struct machine *machine, u64 size, u64 alignment)
{
	u64 start = (machine->allocated + alignment - 1) & ~(alignment - 1);

	/* QEMU's RAM starts as zeros, and a run never restarts: -no-reboot. */
	if (start + size > machine->config->host_base + machine->config->host_size)
		return NULL;
	machine->allocated = start + size;
	return (void *)start;
}

void machine_halt(void)
{
	for (;;)
		__asm__ volatile("cli; hlt");
}
