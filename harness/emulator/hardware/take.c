/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cpu.h"

void *take(struct hw *hw, u64 size, u64 alignment)
{
	void *memory = machine_take(hw->machine, size, alignment);

	if (!memory)
		hw_fail(&hw->cpu[0], "host RAM is too small", __LINE__);
	return memory;
}
