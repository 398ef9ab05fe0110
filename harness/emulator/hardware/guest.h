/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guest's linear addresses and its instructions, as its processor uses them. */
#ifndef SNP_HW_GUEST_H
#define SNP_HW_GUEST_H

#include "cpu.h"

u32 guest_mode_bits(const struct hw_cpu *cpu); /* 16, 32 or 64 */
bool guest_is_canonical(const struct hw_cpu *cpu, u64 linear); /* in 64-bit mode */
u64 guest_physical(struct hw_cpu *cpu, u64 linear); /* GPA with C-bit; NO_GPA: not mapped */
/* As an access to data of the instruction at RIP: sets accessed and dirty bits. False: with #PF. */
bool guest_translate(struct hw_cpu *cpu, u64 linear, bool write, u64 *gpa);
bool guest_read(struct hw_cpu *cpu, u64 linear, void *to, u64 size);
bool guest_write(struct hw_cpu *cpu, u64 linear, const void *from, u64 size);
u32 guest_code_at(struct hw_cpu *cpu, u64 pc, u8 *bytes, u32 size);
u32 guest_code(struct hw_cpu *cpu, u8 *bytes, u32 size); /* bytes of the instruction that could be read */
struct known_instruction *guest_instruction(struct hw_cpu *cpu); /* the one that exited; if unknown, the run ends */
void guest_skip(struct hw_cpu *cpu, u32 length); /* over an instruction that was carried out for the guest */
/* EVENTINJ of the next VMRUN. */
void guest_exception(struct hw_cpu *cpu, u8 vector, bool has_error, u32 error);
u64 guest_gpr(const struct hw_cpu *cpu, u32 reg);

#endif
