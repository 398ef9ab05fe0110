/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Composed nested page tables: one tree a VMPL, filled by access.c on demand.
 *
 * The C-bit is an address bit of the nested walk: bit 51 in the fifth level (the emulator runs with
 * LA57), bit 47 in the fourth. So a guest-physical address with and without it are two addresses,
 * and each view has its own mappings. QEMU's TCG ignores bits 48 and up in a four-level walk.
 */
#include "npt.h"
#include "bytes.h"
#include "iommu.h"
#include "slot.h"

#define NPT_ADDRESS 0x0007FFFFFFFFF000ull

static u32 levels(const struct hw *hw) { return hw->machine->config->cbit == 51 ? 5 : 4; }

static u64 *new_table(struct hw *hw) { return hw_take(hw, PAGE_SIZE, PAGE_SIZE); }

static u64 *next_table(struct hw *hw, u64 *entry)
{
	if (!(*entry & NPT_PRESENT))
		*entry = (u64)new_table(hw) | NPT_RWX;
	return (u64 *)(*entry & NPT_ADDRESS);
}

/* The table with the entries of `level` (1: 4 KiB pages) for an address; NULL: not there, or a large page above. */
static u64 *table_at(struct hw *hw, u64 *root, u64 address, u32 level, bool make)
{
	u64 *table = root;

	for (u32 l = levels(hw); l > level; l--) {
		u64 *entry = &table[(address >> (12 + 9 * (l - 1))) & 511];

		if (!make && !(*entry & NPT_PRESENT))
			return NULL;
		if (*entry & NPT_LARGE)
			return NULL;
		table = next_table(hw, entry);
	}
	return table;
}

void npt_setup(struct hw *hw)
{
	for (u32 vmpl = 0; vmpl < CONFIG_VMPLS; vmpl++) {
		struct npt *npt = &hw->npt[vmpl];
		u32 top = 12 + 9 * (levels(hw) - 1);

		npt->paged = new_table(hw);
		npt->unpaged = new_table(hw);
		/* Unpaged code runs below 4 GiB: it needs only the first entry of the private view. */
		npt->unpaged[0] = (u64)next_table(hw, &npt->paged[(hw->c_bit >> top) & 511]) | NPT_RWX;
	}
}

/* Without paging, and with 32-bit paging, every access is private (APM vol. 2, 15.34.5). */
bool npt_is_unpaged(const struct hw_cpu *cpu)
{
	const struct vmcb_save *save = &vmcb(cpu)->save;

	return cpu->hw->encrypted && (!(save->cr0 & CR0_PG) || !(save->cr4 & CR4_PAE));
}

u64 npt_root(const struct hw_cpu *cpu)
{
	const struct npt *npt = &cpu->hw->npt[cpu->vmpl];

	return (u64)(npt_is_unpaged(cpu) ? npt->unpaged : npt->paged);
}

void npt_map(struct hw *hw, u32 vmpl, bool private_view, u64 gpa, u64 spa, bool large, u64 bits)
{
	u64 address = gpa | (private_view ? hw->c_bit : 0);
	u32 level = large ? 2 : 1;
	u64 *table = table_at(hw, hw->npt[vmpl].paged, address, level, true);
	u64 *entry;

	hw->npt[vmpl].mapped = true;
	if (!table) /* a large page is there already */
		return;
	entry = &table[(address >> (12 + 9 * (level - 1))) & 511];
	*entry = spa | bits | (large ? NPT_LARGE : 0);
}

bool npt_find(struct hw *hw, u32 vmpl, u64 address, bool write, u64 *spa)
{
	u64 *table = table_at(hw, hw->npt[vmpl].paged, address, 2, false);
	u64 entry = table ? table[(address >> 21) & 511] : 0;
	u64 size = PAGE_SIZE_2M;

	if ((entry & NPT_PRESENT) && !(entry & NPT_LARGE)) {
		entry = ((u64 *)(entry & NPT_ADDRESS))[(address >> 12) & 511];
		size = PAGE_SIZE;
	}
	if (!(entry & NPT_PRESENT) || (write && !(entry & NPT_WRITE)))
		return false;
	*spa = (entry & NPT_ADDRESS & ~(size - 1)) | (address & (size - 1));
	return true;
}

/* Of a 2 MiB range the table of its 4 KiB pages stays for later, empty. */
static void unmap(struct hw *hw, u64 *root, u64 address, bool large)
{
	u64 *table = table_at(hw, root, address, 2, false);
	u64 *entry;

	if (!table)
		return;
	entry = &table[(address >> 21) & 511];
	if (*entry & NPT_LARGE)
		*entry = 0;
	else if ((*entry & NPT_PRESENT) && large)
		memset((void *)(*entry & NPT_ADDRESS), 0, PAGE_SIZE);
	else if (*entry & NPT_PRESENT)
		((u64 *)(*entry & NPT_ADDRESS))[(address >> 12) & 511] = 0;
}

void hw_invalidate(struct hw *hw, u64 gpa, bool large)
{
	for (u32 vmpl = 0; vmpl < CONFIG_VMPLS; vmpl++) {
		if (!hw->npt[vmpl].mapped)
			continue;
		unmap(hw, hw->npt[vmpl].paged, gpa, large);
		unmap(hw, hw->npt[vmpl].paged, gpa | hw->c_bit, large);
	}
	if (slot_of(hw, gpa))
		iommu_update(hw, gpa, large);
}
