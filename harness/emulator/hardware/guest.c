/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "guest.h"
#include "bytes.h"
#include "insn.h"
#include "layout.h"
#include "slot.h"

#define PTE_PRESENT BIT(0)
#define PTE_WRITE   BIT(1)
#define PTE_USER    BIT(2)
#define PTE_ACCESSED BIT(5)
#define PTE_DIRTY   BIT(6)
#define PTE_LARGE   BIT(7)
#define PTE_NX      BIT(63)
#define PTE_ADDRESS 0x000FFFFFFFFFF000ull

/* Error code of #PF (APM vol. 2, 8.4.2). */
#define FAULT_PRESENT  BIT(0)
#define FAULT_WRITE    BIT(1)
#define FAULT_USER     BIT(2)
#define FAULT_RESERVED BIT(3)

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

#define LOOP_SIZE 64u /* bytes: a loop that waits for a value in memory is short */

bool hw_spins(struct hw_cpu *cpu)
{
	u64 pc = hw_observe_pc(cpu);
	bool near = pc - cpu->spin_pc + LOOP_SIZE / 2 < LOOP_SIZE;

	cpu->spin_pc = pc;
	return near;
}

/* 48 bits, or 57 (APM vol. 2, 1.1.3). */
bool guest_is_canonical(const struct hw_cpu *cpu, u64 linear)
{
	i64 upper = (i64)linear >> (vmcb(cpu)->save.cr4 & CR4_LA57 ? 56 : 47);

	return upper == 0 || upper == -1;
}

/* The entry of 4 or 8 bytes at a GPA, which the walk remembers; 0 where there is no memory. */
static u64 read_entry(struct hw *hw, u64 gpa, u32 size, struct page_walk *walked)
{
	u8 *at = slot_private(hw, gpa & ~hw->c_bit, size);

	if (!at)
		return 0;
	walked->at[walked->levels] = (volatile a64 *)at;
	return walked->entry[walked->levels++] = size == sizeof(u32) ? *(volatile a32 *)at : *(volatile a64 *)at;
}

/* 32-bit paging without PAE: two levels, no C-bit (APM vol. 2, 5.2). */
static u64 walk_legacy(struct hw *hw, u64 cr3, u64 linear, struct page_walk *walked)
{
	u64 entry = read_entry(hw, (cr3 & 0xFFFFF000) + ((linear >> 22) & 1023) * 4, sizeof(u32), walked);

	if (!(entry & PTE_PRESENT))
		return NO_GPA;
	if (entry & PTE_LARGE)
		return (entry & 0xFFC00000) | (linear & 0x3FFFFF);
	entry = read_entry(hw, (entry & 0xFFFFF000) + ((linear >> 12) & 1023) * 4, sizeof(u32), walked);
	return entry & PTE_PRESENT ? (entry & 0xFFFFF000) | (linear & 0xFFF) : NO_GPA;
}

/* GPA with C-bit behind a linear address; NO_GPA when it is not mapped. */
static u64 walk(struct hw_cpu *cpu, u64 linear, struct page_walk *walked)
{
	struct hw *hw = cpu->hw;
	const struct vmcb_save *save = &vmcb(cpu)->save;
	u32 level = 3;
	u64 table;

	walked->levels = 0;
	if (!(save->cr0 & CR0_PG))
		return (u32)linear | hw->c_bit;
	if (!(save->cr4 & CR4_PAE))
		return walk_legacy(hw, save->cr3, (u32)linear, walked);
	table = save->cr3 & 0xFFFFFFE0;
	if (save->efer & EFER_LMA) {
		level = save->cr4 & CR4_LA57 ? 5 : 4;
		table = save->cr3 & PTE_ADDRESS;
	} else {
		linear = (u32)linear;
	}
	for (; level; level--) {
		u32 shift = 12 + 9 * (level - 1);
		u64 entry = read_entry(hw, table + ((linear >> shift) & 511) * 8, sizeof(u64), walked);

		if (!(entry & PTE_PRESENT))
			return NO_GPA;
		table = entry & PTE_ADDRESS;
		if (level == 1 || (level <= 3 && (entry & PTE_LARGE)))
			return (table & ~(BIT(shift) - 1)) | (linear & (BIT(shift) - 1));
	}
	return NO_GPA;
}

static u8 *pointer_of(struct hw *hw, u64 gpa)
{
	struct hw_slot *slot;

	if (gpa == NO_GPA)
		return NULL;
	slot = slot_of(hw, gpa & ~hw->c_bit);
	if (!slot)
		return NULL;
	return (u8 *)(PHYSICAL_WINDOW + hw_slot_spa(slot, gpa & ~hw->c_bit, !(gpa & hw->c_bit)));
}

u64 guest_physical(struct hw_cpu *cpu, u64 linear)
{
	struct page_walk walked;

	return walk(cpu, linear, &walked);
}

/* An entry of the top level of three has neither rights nor an accessed bit (APM vol. 2, 5.3.2). */
static u32 first_with_rights(const struct vmcb_save *save) { return (save->cr4 & CR4_PAE) && !(save->efer & EFER_LMA); }

static bool is_permitted(const struct vmcb_save *save, const struct page_walk *walked, bool write)
{
	u64 rights = PTE_WRITE | PTE_USER;
	bool user = save->cpl == 3;

	for (u32 i = first_with_rights(save); i < walked->levels; i++)
		rights &= walked->entry[i];
	if (write && !(rights & PTE_WRITE) && (user || (save->cr0 & CR0_WP)))
		return false;
	if (user)
		return rights & PTE_USER;
	return !(rights & PTE_USER) || !(save->cr4 & CR4_SMAP) || (save->rflags & RFLAGS_AC);
}

static bool has_reserved_bits(const struct vmcb_save *save, const struct page_walk *walked)
{
	for (u32 i = 0; i < walked->levels; i++) {
		if ((walked->entry[i] & PTE_NX) && !(save->efer & EFER_NXE))
			return true;
	}
	return false;
}

static void mark(const struct vmcb_save *save, const struct page_walk *walked, bool write)
{
	for (u32 i = first_with_rights(save); i < walked->levels; i++)
		*(volatile a32 *)walked->at[i] |= PTE_ACCESSED | (write && i == walked->levels - 1 ? PTE_DIRTY : 0);
}

bool guest_translate(struct hw_cpu *cpu, u64 linear, bool write, u64 *gpa)
{
	struct vmcb_save *save = &vmcb(cpu)->save;
	u32 error = (u32)((write ? FAULT_WRITE : 0) | (save->cpl == 3 ? FAULT_USER : 0));
	struct page_walk walked;

	*gpa = walk(cpu, linear, &walked);
	if (*gpa != NO_GPA && has_reserved_bits(save, &walked))
		error |= FAULT_PRESENT | FAULT_RESERVED;
	else if (*gpa != NO_GPA && !is_permitted(save, &walked, write) && walked.levels)
		error |= FAULT_PRESENT;
	else if (*gpa != NO_GPA) {
		mark(save, &walked, write);
		return true;
	}
	save->cr2 = linear;
	guest_exception(cpu, X86_PF, true, error);
	return false;
}

static bool is_unchanged(const struct page_walk *walked)
{
	for (u32 i = 0; i < walked->levels; i++) {
		if ((*walked->at[i] ^ walked->entry[i]) & ~(PTE_ACCESSED | PTE_DIRTY))
			return false;
	}
	return true;
}

/* The page of a linear address. Unlike in a TLB, a change of any level counts at once. */
static u8 *page_pointer(struct hw_cpu *cpu, u64 linear)
{
	const struct vmcb_save *save = &vmcb(cpu)->save;
	u64 page = linear & ~(PAGE_SIZE - 1), mode = (save->cr4 & (CR4_PAE | CR4_LA57)) | (save->efer & EFER_LMA);
	struct translation *slot = &cpu->translation[(linear / PAGE_SIZE) % TRANSLATIONS];

	if (slot->walk.levels && slot->page == page && slot->cr3 == save->cr3 && slot->mode == mode && (save->cr0 & CR0_PG) &&
	    is_unchanged(&slot->walk))
		return slot->memory;
	slot->memory = pointer_of(cpu->hw, walk(cpu, page, &slot->walk));
	if (!slot->memory || !(save->cr4 & CR4_PAE)) /* entries of 4 bytes are not kept */
		slot->walk.levels = 0;
	slot->page = page;
	slot->cr3 = save->cr3;
	slot->mode = mode;
	return slot->memory;
}

static bool guest_copy(struct hw_cpu *cpu, u64 linear, u8 *local, u64 size, bool write)
{
	while (size) {
		u64 room = PAGE_SIZE - (linear & (PAGE_SIZE - 1));
		u64 part = size < room ? size : room;
		u8 *memory = page_pointer(cpu, linear);

		if (!memory)
			return false;
		memory += linear & (PAGE_SIZE - 1);
		if (write)
			memcpy(memory, local, part);
		else
			memcpy(local, memory, part);
		linear += part;
		local += part;
		size -= part;
	}
	return true;
}

bool guest_read(struct hw_cpu *cpu, u64 linear, void *to, u64 size)
{
	return guest_copy(cpu, linear, to, size, false);
}

bool guest_write(struct hw_cpu *cpu, u64 linear, const void *from, u64 size)
{
	return guest_copy(cpu, linear, (u8 *)from, size, true);
}

u32 guest_code_at(struct hw_cpu *cpu, u64 pc, u8 *bytes, u32 size)
{
	u32 room = (u32)(PAGE_SIZE - (pc & (PAGE_SIZE - 1)));
	u32 first = size < room ? size : room;

	if (!guest_read(cpu, pc, bytes, first))
		return 0;
	if (first < size && guest_read(cpu, pc + first, bytes + first, size - first))
		return size;
	return first;
}

u32 guest_code(struct hw_cpu *cpu, u8 *bytes, u32 size)
{
	return guest_code_at(cpu, hw_observe_pc(cpu), bytes, size);
}

/*
 * An exit at the same pc with the same code is from the same instruction, with the same length, unless
 * the guest has replaced it by another encoding.
 */
struct known_instruction *guest_instruction(struct hw_cpu *cpu)
{
	u64 pc = hw_observe_pc(cpu);
	u32 exit_code = (u32)vmcb(cpu)->control.exit_code;
	struct known_instruction *known = &cpu->known[(pc ^ pc >> 5) % KNOWN_INSTRUCTIONS];
	u8 code[INSN_MAX_LENGTH] = { 0 };
	u32 available;

	if (known->pc == pc && known->exit_code == exit_code && known->length)
		return known;
	available = guest_code(cpu, code, sizeof(code));
	known->pc = pc;
	known->exit_code = exit_code;
	known->which = (u8)insn_decode_simple(code, available, guest_mode_bits(cpu), &known->length);
	if (known->which == INSN_SIMPLE_UNKNOWN)
		hw_stop(cpu, RECORD_END_INSTRUCTION, *(a64 *)code, exit_code);
	return known;
}

void guest_exception(struct hw_cpu *cpu, u8 vector, bool has_error, u32 error)
{
	vmcb(cpu)->control.event_inj = vector | SVM_EVENT_EXCEPTION | SVM_EVENT_VALID |
				       (has_error ? SVM_EVENT_ERROR | (u64)error << SVM_EVENT_ERROR_SHIFT : 0);
}

/* The instruction is complete: the trap of a single step follows it (APM vol. 2, 13.1.4). */
void guest_skip(struct hw_cpu *cpu, u32 length)
{
	struct vmcb_save *save = &vmcb(cpu)->save;

	save->rip += length;
	vmcb(cpu)->control.interrupt_shadow = 0;
	if (save->rflags & RFLAGS_TF) {
		save->dr6 |= DR6_BS;
		guest_exception(cpu, X86_DB, false, 0);
	}
}

u64 guest_gpr(const struct hw_cpu *cpu, u32 reg)
{
	if (reg == HW_RAX)
		return vmcb(cpu)->save.rax;
	if (reg == HW_RSP)
		return vmcb(cpu)->save.rsp;
	return cpu->state[cpu->vmpl].gpr[reg & 15];
}
