/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "operand.h"
#include "access.h"
#include "bytes.h"
#include "guest.h"
#include "layout.h"
#include "npt.h"

/* Attributes of a segment in a VMCB: bits 7:0 are the descriptor's 47:40, 11:8 its 55:52 (APM vol. 2, 4.8). */
#define SEGMENT_WRITE   BIT(1) /* of data; code: it can be read */
#define SEGMENT_DOWN    BIT(2) /* data that expands down */
#define SEGMENT_CODE    BIT(3)
#define SEGMENT_PRESENT BIT(7)
#define SEGMENT_BIG     BIT(10)

static const struct vmcb_segment *segment_of(struct hw_cpu *cpu, enum insn_segment which)
{
	struct vmcb_save *save = &vmcb(cpu)->save;

	switch (which) {
	case INSN_SEGMENT_ES: return &save->es;
	case INSN_SEGMENT_CS: return &save->cs;
	case INSN_SEGMENT_SS: return &save->ss;
	case INSN_SEGMENT_FS:
	case INSN_SEGMENT_GS:
		switch_save_hidden(cpu);
		return which == INSN_SEGMENT_FS ? &save->fs : &save->gs;
	default: return &save->ds;
	}
}

/* APM vol. 2, 4.12: type and limit. Real mode has limits only. */
static bool segment_allows(const struct hw_cpu *cpu, const struct vmcb_segment *segment, u64 offset, u32 size, bool write)
{
	const struct vmcb_save *save = &vmcb(cpu)->save;
	u16 attributes = segment->attributes;
	bool code = attributes & SEGMENT_CODE, down = (attributes & SEGMENT_DOWN) && !code;
	u64 last = offset + size - 1;

	if ((save->cr0 & CR0_PE) && !(save->rflags & RFLAGS_VM)) {
		if (!(attributes & SEGMENT_PRESENT) || (write && code) || ((write || code) && !(attributes & SEGMENT_WRITE)))
			return false;
	}
	if (down)
		return offset > segment->limit && last <= (attributes & SEGMENT_BIG ? 0xFFFFFFFF : 0xFFFF);
	return last <= segment->limit;
}

static u64 offset_of(struct hw_cpu *cpu, const struct insn_address *address, u8 length)
{
	u64 sum = address->displacement;

	if (address->relative)
		sum += vmcb(cpu)->save.rip + length;
	if (address->base != INSN_NO_REGISTER)
		sum += guest_gpr(cpu, address->base);
	if (address->index != INSN_NO_REGISTER)
		sum += guest_gpr(cpu, address->index) << address->scale;
	return address->size == 8 ? sum : sum & (BIT(8 * address->size) - 1);
}

bool operand_locate(struct hw_cpu *cpu, struct hw_operand *operand, u32 size, bool write)
{
	const struct insn_address *address = operand->address;
	const struct vmcb_segment *segment = segment_of(cpu, address->segment);
	u64 offset = offset_of(cpu, address, operand->length);
	bool ok;

	if (guest_mode_bits(cpu) == 64) {
		operand->linear = offset + (address->segment >= INSN_SEGMENT_FS ? segment->base : 0);
		ok = guest_is_canonical(cpu, operand->linear) && guest_is_canonical(cpu, operand->linear + size - 1);
	} else {
		operand->linear = (u32)(segment->base + offset);
		ok = segment_allows(cpu, segment, offset, size, write);
	}
	if (!ok)
		guest_exception(cpu, address->segment == INSN_SEGMENT_SS ? X86_SS : X86_GP, true, 0);
	return ok;
}

#define TRIES 4 /* to map a page: the paging mode may be another than at the last #NPF */

/* As an #NPF of the processor: access.c maps the page, or answers. False: not mapped. */
static bool fault_in(struct hw_cpu *cpu, u64 gpa, bool write, struct hw_exit *exit)
{
	struct vmcb *page = vmcb(cpu);
	u64 rip = page->save.rip, rsp = page->save.rsp;

	exit->info1 = page->control.exit_info1 = SVM_NPF_FINAL | SVM_NPF_USER | (write ? SVM_NPF_WRITE : 0);
	exit->info2 = page->control.exit_info2 = gpa;
	access_fault(cpu, exit);
	return exit->code == HW_EXIT_NONE && page->save.rip == rip && page->save.rsp == rsp; /* else #VC */
}

/* The part of a page that begins at `linear`; NULL: see operand_map(), or the guest has to try again. */
static u8 *part(struct hw_cpu *cpu, u64 linear, bool write, struct hw_exit *exit)
{
	u64 gpa, spa;
	u32 tries = 0;

	if (!guest_translate(cpu, linear, write, &gpa))
		return NULL;
	while (!npt_find(cpu->hw, cpu->vmpl, gpa, write, &spa)) {
		if (tries++ == TRIES || !fault_in(cpu, gpa, write, exit))
			return NULL;
	}
	if (spa >= IDENTITY_SIZE) /* a device beyond: nobody has state there */
		hw_stop(cpu, RECORD_END_INSTRUCTION, gpa, vmcb(cpu)->control.exit_code);
	return (u8 *)(PHYSICAL_WINDOW + spa);
}

bool operand_map(struct hw_cpu *cpu, struct hw_operand *operand, u32 size, bool write, struct hw_exit *exit)
{
	u64 mask = guest_mode_bits(cpu) == 64 ? ~0ull : ~0u;

	operand->room = (u32)(PAGE_SIZE - (operand->linear & (PAGE_SIZE - 1)));
	operand->low = operand->high = part(cpu, operand->linear, write, exit);
	if (operand->low && operand->room < size)
		operand->high = part(cpu, (operand->linear + operand->room) & mask, write, exit);
	return operand->low && operand->high;
}

void operand_get(const struct hw_operand *operand, u8 *to, u32 size)
{
	u32 first = size < operand->room ? size : operand->room;

	memcpy(to, operand->low, first);
	memcpy(to + first, operand->high, size - first);
}

void operand_put(const struct hw_operand *operand, const u8 *from, u32 size)
{
	u32 first = size < operand->room ? size : operand->room;

	memcpy(operand->low, from, first);
	memcpy(operand->high, from + first, size - first);
}
