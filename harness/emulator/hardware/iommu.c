/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QEMU's intel-iommu, in legacy mode: all functions have one context entry, so one table (Intel VT-d specification 4.1,
 * chapters 3.4, 3.7, 9 and 11). Interrupts are not remapped: a message's destination is a processor (catch.c).
 */
#include "iommu.h"
#include "layout.h"
#include "slot.h"
#include "x86.h"

/* Registers. */
#define VERSION       0x00
#define EXTENDED_CAP  0x10
#define COMMAND       0x18
#define STATUS        0x1C
#define ROOT_TABLE    0x20
#define CONTEXT_FLUSH 0x28
#define IOTLB_OFFSET(capability) ((u32)((capability) >> 8 & 0x3FF) * 16 + 8)

#define COMMAND_TRANSLATE BIT(31)
#define COMMAND_ROOT      BIT(30)
#define CONTEXT_FLUSH_ALL (BIT(63) | BIT(61))
#define IOTLB_FLUSH_DOMAIN (BIT(63) | 2ull << 60 | DOMAIN << 32)

#define DOMAIN 1ull
/* Context entry: faults are not reported; four levels. */
#define CONTEXT_PRESENT  BIT(0)
#define CONTEXT_NO_FAULT BIT(1)
#define CONTEXT_HIGH     (DOMAIN << 8 | 2)
#define ROOT_PRESENT     BIT(0)
#define FUNCTIONS        256
#define BUSES            256

#define LEVELS    4
#define DMA_READ  BIT(0)
#define DMA_WRITE BIT(1)
#define ADDRESS   0x000FFFFFFFFFF000ull

static void write64(u32 offset, u64 value) { *(volatile u64 *)(HOST_IOMMU + offset) = value; }
static u64 read64(u32 offset) { return *(volatile u64 *)(HOST_IOMMU + offset); }

static void command(struct hw *hw, u64 bit)
{
	u32 enabled = mmio_read32(HOST_IOMMU + STATUS) & (u32)COMMAND_TRANSLATE;

	mmio_write32(HOST_IOMMU + COMMAND, enabled | (u32)bit);
	if (!(mmio_read32(HOST_IOMMU + STATUS) & bit))
		hw_fail(&hw->cpu[0], "the IOMMU refuses a command", __LINE__);
}

/* The table with the entry of a page; NULL: it is not made, and there is none. */
static u64 *table_of(struct hw *hw, u64 gpa, bool make)
{
	u64 *table = hw->dma_table;

	for (u32 level = LEVELS; level > 1; level--) {
		u64 *entry = &table[gpa >> (12 + 9 * (level - 1)) & 511];

		if (!*entry && !make)
			return NULL;
		if (!*entry)
			*entry = (u64)hw_take(hw, PAGE_SIZE, PAGE_SIZE) | DMA_READ | DMA_WRITE;
		table = (u64 *)(*entry & ADDRESS);
	}
	return table;
}

static u64 translation(const struct hw *hw, const struct hw_slot *slot, u64 gpa)
{
	bool rom = slot->gpa + slot->size == FOUR_GIB;

	if (slot_nested(slot, gpa) != HW_SHARED || (rmp_entry(&hw->rmp, hw_slot_spa(slot, gpa, false))->bits & RMP_ASSIGNED))
		return 0;
	return hw_slot_spa(slot, gpa, true) | DMA_READ | (rom ? 0 : DMA_WRITE);
}

/* True: an entry that devices may have used is another one now. */
static bool set(struct hw *hw, u64 *table, u64 gpa)
{
	const struct hw_slot *slot = slot_of(hw, gpa);
	u64 *entry = &table[gpa / PAGE_SIZE & 511];
	u64 before = *entry;

	*entry = slot ? translation(hw, slot, gpa) : 0;
	return before && before != *entry;
}

static bool set_2m(struct hw *hw, u64 gpa)
{
	u64 *table = table_of(hw, gpa, true);
	bool flush = false;

	for (u64 i = 0; i < PAGES_IN_2M; i++)
		flush |= set(hw, table, gpa + i * PAGE_SIZE);
	return flush;
}

void iommu_update(struct hw *hw, u64 gpa, bool large)
{
	u64 start = gpa & ~(PAGE_SIZE_2M - 1);
	bool flush;

	/* Nothing near was ever shared. The pages of a large one are alike. */
	if (slot_nested(slot_of(hw, gpa), gpa) != HW_SHARED && !table_of(hw, gpa, false))
		return;
	flush = large ? set_2m(hw, start) : set(hw, table_of(hw, gpa, true), gpa);
	if (!flush)
		return;
	write64(hw->dma_flush, IOTLB_FLUSH_DOMAIN);
	while (read64(hw->dma_flush) & BIT(63))
		;
}

/* No page of the 2 MiB is shared. */
static bool is_private(const struct hw_slot *slot, u64 gpa)
{
	return gpa >= slot->gpa && gpa + PAGE_SIZE_2M <= slot->gpa + slot->size && slot_nested(slot, gpa) != HW_SHARED &&
	       pages_alike(&slot->nested[(gpa - slot->gpa) / PAGE_SIZE]);
}

static void cover_all_slots(struct hw *hw)
{
	for (u32 i = 0; i < hw->slots; i++) {
		const struct hw_slot *slot = &hw->slot[i];

		for (u64 gpa = slot->gpa & ~(PAGE_SIZE_2M - 1); gpa < slot->gpa + slot->size; gpa += PAGE_SIZE_2M) {
			if (!is_private(slot, gpa))
				set_2m(hw, gpa);
		}
	}
}

void hw_dma_start(struct hw *hw)
{
	u64 *roots = hw_take(hw, PAGE_SIZE, PAGE_SIZE);
	u64 *contexts = hw_take(hw, PAGE_SIZE, PAGE_SIZE);

	hw->dma_table = hw_take(hw, PAGE_SIZE, PAGE_SIZE);
	if (!mmio_read32(HOST_IOMMU + VERSION))
		hw_fail(&hw->cpu[0], "there is no IOMMU", __LINE__);
	hw->dma_flush = IOTLB_OFFSET(read64(EXTENDED_CAP));
	cover_all_slots(hw);
	for (u32 i = 0; i < FUNCTIONS; i++) {
		contexts[2 * i] = (u64)hw->dma_table | CONTEXT_PRESENT | CONTEXT_NO_FAULT;
		contexts[2 * i + 1] = CONTEXT_HIGH;
	}
	for (u32 i = 0; i < BUSES; i++)
		roots[2 * i] = (u64)contexts | ROOT_PRESENT;
	write64(ROOT_TABLE, (u64)roots);
	command(hw, COMMAND_ROOT);
	write64(CONTEXT_FLUSH, CONTEXT_FLUSH_ALL);
	write64(hw->dma_flush, IOTLB_FLUSH_DOMAIN);
	command(hw, COMMAND_TRANSLATE);
}
