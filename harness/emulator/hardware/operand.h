/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Memory operands of the guest's instruction that the hardware carries out, with every fault of an access. */
#ifndef SNP_HW_OPERAND_H
#define SNP_HW_OPERAND_H

#include "cpu.h"
#include "insn.h"

struct hw_operand {
	const struct insn_address *address;
	u8 length; /* of the instruction */
	u64 linear;
	u8 *low, *high; /* operand_map(): its bytes, of which those from `room` on are on a second page */
	u32 room;
};

/* Its linear address; `size`: bytes of it that the segment has to have. False: #GP or #SS is to be injected. */
bool operand_locate(struct hw_cpu *cpu, struct hw_operand *operand, u32 size, bool write);

/*
 * Makes its first `size` bytes, a page at most, accessible. False: an exception is to be injected, #VC has been delivered,
 * or `exit` is an #NPF for the hypervisor, after which the guest executes the instruction again.
 */
bool operand_map(struct hw_cpu *cpu, struct hw_operand *operand, u32 size, bool write, struct hw_exit *exit);
void operand_get(const struct hw_operand *operand, u8 *to, u32 size);
void operand_put(const struct hw_operand *operand, const u8 *from, u32 size);

#endif
