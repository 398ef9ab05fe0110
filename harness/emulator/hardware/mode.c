/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "mode.h"

#define CS_ATTRIBUTE_LONG 0x200 /* VMCB segment attribute bit 9: L */
#define CS_ATTRIBUTE_32   0x400 /* bit 10: D */

u32 guest_mode_bits(const struct hw_cpu *cpu)
{
	const struct vmcb_save *save = &vmcb(cpu)->save;

	if ((save->efer & EFER_LMA) && (save->cs.attributes & CS_ATTRIBUTE_LONG))
		return 64;
	if ((save->cr0 & CR0_PE) && (save->cs.attributes & CS_ATTRIBUTE_32))
		return 32;
	return 16;
}

u64 hw_observe_pc(const struct hw_cpu *cpu)
{
	const struct vmcb_save *save = &vmcb(cpu)->save;

	if (guest_mode_bits(cpu) == 64)
		return save->rip;
	return (u32)(save->cs.base + save->rip);
}
