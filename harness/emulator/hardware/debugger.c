/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "debugger.h"
#include "layout.h"
#include "view.h"

_Static_assert(VIEW_SLOTS == HW_SLOTS && VIEW_CPUS == HW_CPUS && VIEW_VMPLS == CONFIG_VMPLS, "as in hw.h");

/* vm_enter.S */
extern const u8 vm_enter_left[], vm_enter_saved[];

static struct view *view_of(const struct hw *hw)
{
	const struct host_config *config = hw->machine->config;

	return (struct view *)(config->host_base + config->host_size - 2 * PAGE_SIZE);
}

/* Of something in the emulator's image. */
static u64 physical(const struct hw *hw, const void *at) { return (u64)at - HOST_VIRTUAL + hw->machine->config->host_base; }

void debugger_add_slot(const struct hw *hw, const struct hw_slot *slot, const struct rmp_entry *entries)
{
	struct view *view = view_of(hw);

	view->slot[view->slots++] = (struct view_slot){ .gpa = slot->gpa, .size = slot->size, .spa = slot->spa,
							.shared_spa = slot->shared_spa, .nested = (u64)slot->nested,
							.rmp = (u64)entries };
}

void debugger_add_cpu(const struct hw_cpu *cpu)
{
	struct view *view = view_of(cpu->hw);
	struct view_cpu *to = &view->cpu[cpu->index];

	to->vmpl = physical(cpu->hw, &cpu->vmpl);
	for (u32 vmpl = 0; vmpl < VIEW_VMPLS; vmpl++) {
		to->vmcb[vmpl] = (u64)cpu->state[vmpl].vmcb;
		to->gpr[vmpl] = physical(cpu->hw, cpu->state[vmpl].gpr);
	}
	view->cpus++;
	view->snp = cpu->hw->snp;
	view->left = (u64)vm_enter_left;
	view->saved = (u64)vm_enter_saved;
	view->in_place = physical(cpu->hw, &cpu->hw->in_place);
	view->magic = VIEW_MAGIC;
}

void debugger_set_running(const struct hw_cpu *cpu) { view_of(cpu->hw)->running = cpu->index; }
