/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An instruction that the decoder does not know: the processor executes it, alone. The page of a device of QEMU's is
 * mapped for that time. Of a page that the hypervisor serves or guards it is a copy that shows the device's registers;
 * what the instruction has written there is then written to the device.
 * For a guest without SEV, whose instructions the hypervisor may carry out. No interrupt comes in between, and no other
 * vCPU runs: all of them share the mapping.
 */
#include "apic_access.h"
#include "bytes.h"
#include "insn.h"
#include "mmio.h"

#define WIDEST 64 /* bytes that one instruction writes, but for those that store a processor's state */

static _Noreturn void give_up(struct vcpu *vcpu, u64 gpa)
{
	u8 code[INSN_MAX_LENGTH] = { 0 };

	hw_plain_code(vcpu->cpu, code, sizeof(code));
	hw_stop(vcpu->cpu, RECORD_END_INSTRUCTION, *(a64 *)code, gpa);
}

static void begin(struct vcpu *vcpu, struct mmio_step *step)
{
	u8 code[INSN_MAX_LENGTH] = { 0 };
	u32 available = hw_plain_code(vcpu->cpu, code, sizeof(code)), mode = hw_plain_mode(vcpu->cpu);
	struct insn insn;
	bool decoded = insn_decode(code, available, mode, &insn); /* what may cross an edge of the page is here, too */

	vcpu->stepping = true;
	step->pages = 0;
	step->pc = hw_observe_pc(vcpu->cpu);
	step->width = decoded ? insn.operand_size : insn_width(code, available, mode);
	step->reads = decoded && insn_reads_memory(&insn);
	hw_plain_step_begin(vcpu->cpu);
}

/* Reads of the registers have no effect on an APIC, I/O APIC or PCI function. */
static void fill(struct vcpu *vcpu, struct mmio_step_page *page)
{
	u64 value;

	if (apic_owns_page(vcpu, page->gpa)) {
		apic_show(vcpu, page->gpa, page->shown);
	} else {
		for (u32 offset = 0; offset < PAGE_SIZE; offset += 4) {
			mmio_access(vcpu, page->gpa + offset, 4, false, &value, 0);
			*(a32 *)(page->shown + offset) = (u32)value;
		}
	}
	memcpy(page->before, page->shown, PAGE_SIZE);
}

static struct mmio_step_page *page_of(struct vcpu *vcpu, struct mmio_step *step, u64 gpa)
{
	struct mmio_step_page *page;

	for (u32 i = 0; i < step->pages; i++) {
		if (step->page[i].gpa == (gpa & ~(PAGE_SIZE - 1)))
			return &step->page[i];
	}
	if (step->pages == MMIO_STEP_PAGES)
		give_up(vcpu, gpa);
	page = &step->page[step->pages++];
	page->gpa = gpa & ~(PAGE_SIZE - 1);
	page->writable = page->device = mmio_is_device(vcpu, gpa);
	if (!page->device)
		fill(vcpu, page);
	return page;
}

static u64 bytes_at(const u8 *memory, u32 size)
{
	u64 value = 0;

	memcpy(&value, memory, size);
	return value;
}

/* The access that the #NPF is for: a read is made now, for its record; a write when its value is known. */
void mmio_step(struct vcpu *vcpu, u64 gpa, bool write)
{
	struct mmio_step *step = &vcpu->hv->step;
	struct mmio_step_page *page;
	u32 room = (u32)(PAGE_SIZE - gpa % PAGE_SIZE), size, known;

	/* An event's delivery is not an instruction: KVM stops the guest as well. Beyond the bus nothing may be mapped. */
	if (hw_event_pending(vcpu->cpu) || gpa >> vcpu->hv->config->phys_bits)
		give_up(vcpu, gpa);
	if (!vcpu->stepping)
		begin(vcpu, step);
	known = step->pages;
	page = page_of(vcpu, step, gpa);
	size = step->width && step->width < 8 ? step->width : 8;
	/* XCHG and LOCK reach the page with one access for both. */
	if ((!write || (step->reads && step->pages > known)) && apic_owns_page(vcpu, gpa))
		apic_shown(vcpu, gpa, step->width, bytes_at(page->before + gpa % PAGE_SIZE, size < room ? size : room), step->pc);
	if (write && !page->writable) {
		page->writable = true;
		page->written = gpa;
	}
	hw_nested_device(vcpu->cpu, page->gpa, page->device ? page->gpa : (u64)page->shown, page->writable);
}

/* How much was written: as decoded, else up to the last byte that has changed, as a power of two. */
static u32 written_size(const struct mmio_step *step, const struct mmio_step_page *page)
{
	u32 first = page->written % PAGE_SIZE;
	u32 size = 1, changed = 0;

	if (step->width)
		return step->width;
	for (u32 i = 0; i < WIDEST && first + i < PAGE_SIZE; i++) {
		if (page->shown[first + i] != page->before[first + i])
			changed = i + 1;
	}
	while (size < changed)
		size *= 2;
	return size;
}

/* In parts of 8 bytes at most, as KVM's emulator. */
static void apply(struct vcpu *vcpu, const struct mmio_step *step, const struct mmio_step_page *page)
{
	u32 first = page->written % PAGE_SIZE;
	u32 left = written_size(step, page);

	if (left > PAGE_SIZE - first)
		left = (u32)(PAGE_SIZE - first);
	while (left) {
		u32 part = left >= 8 ? 8 : left >= 4 ? 4 : left >= 2 ? 2 : 1;
		u64 value = bytes_at(page->shown + first, part);

		mmio_access(vcpu, page->gpa + first, part, true, &value, step->pc);
		first += part;
		left -= part;
	}
}

static void end(struct vcpu *vcpu, bool executed)
{
	struct mmio_step *step = &vcpu->hv->step;

	vcpu->stepping = false;
	hw_plain_step_end(vcpu->cpu, executed);
	for (u32 i = 0; i < step->pages; i++)
		hw_invalidate(vcpu->hv->hw, step->page[i].gpa, false);
	for (u32 i = 0; i < step->pages && executed; i++) {
		if (step->page[i].writable && !step->page[i].device)
			apply(vcpu, step, &step->page[i]);
	}
}

bool mmio_step_exit(struct vcpu *vcpu, const struct hw_exit *exit)
{
	switch (exit->code) {
	case HW_EXIT_NONE:
	case SVM_EXIT_INTR:
	case SVM_EXIT_NMI:
	case SVM_EXIT_NPF: /* of its other operand */
		return false;
	case SVM_EXIT_EXCEPTION ... SVM_EXIT_EXCEPTION + 31: /* if not #DB, the guest's own: nothing was written */
		end(vcpu, exit->code == SVM_EXIT_EXC_DB);
		if (exit->code != SVM_EXIT_EXC_DB)
			hw_plain_exception(vcpu->cpu, exit);
		return true;
	default:
		end(vcpu, false);
		return false;
	}
}
