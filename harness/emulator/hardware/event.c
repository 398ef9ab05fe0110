/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "event.h"
#include "ghcb.h"
#include "guest.h"
#include "sev.h"

#define GATE_PRESENT     BIT(47)
#define GATE_TYPE(gate)  (((gate) >> 40) & 15)
#define GATE_INTERRUPT   14 /* clears IF; a trap gate (15) does not */
#define TSS_RSP0         0x04
#define TSS_IST1         0x24
#define STACK_ATTRIBUTES 0x93
#define STACK_REACH      0x10000ull /* bytes of one stack */

/* Why a #VC could not be delivered: `extra` of RECORD_END_VC. */
enum vc_failure {
	VC_REAL_MODE = 1,
	VC_NO_GATE = 2,
	VC_IDT_UNMAPPED = 3,
	VC_GDT_UNMAPPED = 4,
	VC_STACK_UNMAPPED = 5,
	VC_TSS_UNMAPPED = 6,
};

static _Noreturn void undeliverable(struct hw_cpu *cpu, enum vc_failure why)
{
	hw_stop(cpu, RECORD_END_VC, current(cpu)->vc_code, why);
}

static void load_code_segment(struct hw_cpu *cpu, u16 selector)
{
	struct vmcb_save *save = &vmcb(cpu)->save;
	u64 descriptor;

	if (!guest_read(cpu, save->gdtr.base + (selector & ~7u), &descriptor, sizeof(descriptor)))
		undeliverable(cpu, VC_GDT_UNMAPPED);
	save->cs.selector = selector & ~3u;
	save->cs.attributes = (u16)(((descriptor >> 40) & 0xFF) | ((descriptor >> 44) & 0xF00));
	save->cs.limit = (u32)((descriptor & 0xFFFF) | ((descriptor >> 32) & 0xF0000));
	if (descriptor & BIT(55))
		save->cs.limit = save->cs.limit << 12 | 0xFFF;
	save->cs.base = ((descriptor >> 16) & 0xFFFFFF) | ((descriptor >> 32) & 0xFF000000);
}

static void enter_handler(struct hw_cpu *cpu, u64 offset, u32 gate_type)
{
	struct vmcb_save *save = &vmcb(cpu)->save;

	save->rip = offset;
	save->rflags &= ~(RFLAGS_TF | RFLAGS_NT | RFLAGS_RF | RFLAGS_VM);
	if (gate_type == GATE_INTERRUPT)
		save->rflags &= ~RFLAGS_IF;
	vmcb(cpu)->control.interrupt_shadow = 0;
}

/* APM vol. 2, 8.9: long mode. */
static void deliver_long(struct hw_cpu *cpu, u8 vector, u64 error)
{
	struct vmcb_save *save = &vmcb(cpu)->save;
	u64 gate[2], stack = save->rsp;
	u32 ist;

	if (vector * 16u + 15 > save->idtr.limit)
		undeliverable(cpu, VC_NO_GATE);
	if (!guest_read(cpu, save->idtr.base + vector * 16u, gate, sizeof(gate)))
		undeliverable(cpu, VC_IDT_UNMAPPED);
	if (!(gate[0] & GATE_PRESENT))
		undeliverable(cpu, VC_NO_GATE);
	ist = (gate[0] >> 32) & 7;
	if (ist || save->cpl) {
		switch_save_hidden(cpu); /* TR */
		if (!guest_read(cpu, save->tr.base + (ist ? TSS_IST1 + 8 * (ist - 1) : TSS_RSP0), &stack, sizeof(stack)))
			undeliverable(cpu, VC_TSS_UNMAPPED);
	}
	u64 frame[6] = { error, save->rip, save->cs.selector, save->rflags, save->rsp, save->ss.selector };

	stack = (stack & ~15ull) - sizeof(frame);
	if (!guest_write(cpu, stack, frame, sizeof(frame)))
		undeliverable(cpu, VC_STACK_UNMAPPED);
	if (save->cpl) {
		save->ss = (struct vmcb_segment){ .attributes = STACK_ATTRIBUTES };
		save->cpl = 0;
	}
	save->rsp = stack;
	load_code_segment(cpu, (u16)(gate[0] >> 16));
	enter_handler(cpu, (gate[0] & 0xFFFF) | ((gate[0] >> 32) & 0xFFFF0000) | (gate[1] << 32), (u32)GATE_TYPE(gate[0]));
}

/* APM vol. 2, 8.7.3: protected mode, same privilege (the reset vector's 32-bit code). */
static void deliver_protected(struct hw_cpu *cpu, u8 vector, u32 error)
{
	struct vmcb_save *save = &vmcb(cpu)->save;
	u64 gate;

	if (vector * 8u + 7 > save->idtr.limit)
		undeliverable(cpu, VC_NO_GATE);
	if (!guest_read(cpu, save->idtr.base + vector * 8u, &gate, sizeof(gate)))
		undeliverable(cpu, VC_IDT_UNMAPPED);
	if (!(gate & GATE_PRESENT) || save->cpl)
		undeliverable(cpu, VC_NO_GATE);
	u32 frame[4] = { error, (u32)save->rip, save->cs.selector, (u32)save->rflags };
	u32 stack = (u32)save->rsp - sizeof(frame);

	if (!guest_write(cpu, (u32)(save->ss.base + stack), frame, sizeof(frame)))
		undeliverable(cpu, VC_STACK_UNMAPPED);
	save->rsp = stack;
	load_code_segment(cpu, (u16)(gate >> 16));
	enter_handler(cpu, (gate & 0xFFFF) | ((gate >> 32) & 0xFFFF0000), (u32)GATE_TYPE(gate));
}

static enum vc_kind vc_kind(u64 exit_code)
{
	switch (exit_code) {
	case SVM_EXIT_CPUID: return VC_CPUID;
	case SVM_EXIT_MSR: return VC_MSR;
	case SVM_EXIT_IOIO: return VC_IOIO;
	case SVM_EXIT_NPF:
	case NAE_MMIO_READ:
	case NAE_MMIO_WRITE: return VC_NPF;
	default: return VC_OTHER;
	}
}

u64 hw_observe_vmgexit_pc(const struct hw_cpu *cpu) { return cpu->state[cpu->vmpl].vmgexit_pc; }

/* A handler is over when RSP is above its frame, on the same stack; one that changes stacks is not seen to end. */
u64 hw_observe_vc_pc(const struct hw_cpu *cpu, u64 code)
{
	const struct hw_vmpl *state = &cpu->state[cpu->vmpl];
	enum vc_kind kind = vc_kind(code);
	u64 above = state->vmcb->save.rsp - state->vc_frame[kind];

	if (!cpu->hw->es)
		return hw_observe_pc(cpu);
	return state->vc_frame[kind] && (!above || above > STACK_REACH) ? state->vc_rip[kind] : state->vmgexit_pc;
}

/* In software: TCG pushes no error code for vector 29. */
void event_vc(struct hw_cpu *cpu, u64 code)
{
	struct hw_vmpl *state = current(cpu);
	const struct vmcb *page = state->vmcb;

	state->vc_rip[vc_kind(code)] = hw_observe_pc(cpu);
	state->vc_code = code;
	hw_observe_image(cpu);
	if (log_at(cpu, 2))
		hw_log(cpu, (struct record){ .kind = RECORD_VC, .rip = hw_observe_pc(cpu), .address = code,
						 .value = page->control.exit_info1, .extra = page->control.exit_info2 });
	if (page->save.efer & EFER_LMA)
		deliver_long(cpu, SEV_VECTOR_VC, code);
	else if (page->save.cr0 & CR0_PE)
		deliver_protected(cpu, SEV_VECTOR_VC, (u32)code);
	else
		undeliverable(cpu, VC_REAL_MODE);
	state->vc_frame[vc_kind(code)] = page->save.rsp;
}

/*
 * An exit in the middle of an event's delivery: deliver the event again. TCG reports hardware
 * interrupts as exceptions (type 3), and leaves V_IRQ set if its delivery was interrupted. RIP is still at an INT n, INT3
 * or INTO, which raises its event again; injected, too, it would come twice.
 */
void event_after_exit(struct hw_cpu *cpu)
{
	struct vmcb_control *control = &vmcb(cpu)->control;
	u64 info = control->exit_int_info;
	u8 vector = info & SVM_EVENT_VECTOR;

	control->event_inj = 0;
	if (!(info & SVM_EVENT_VALID) || (info & SVM_EVENT_TYPE_MASK) == SVM_EVENT_SOFTWARE)
		return;
	if ((control->vintr & SVM_V_IRQ) && (u8)(control->vintr >> SVM_V_VECTOR_SHIFT) == vector)
		return; /* still pending: the CPU delivers it again */
	if ((info & SVM_EVENT_TYPE_MASK) == SVM_EVENT_EXCEPTION && vector >= 32)
		info &= ~SVM_EVENT_TYPE_MASK;
	control->event_inj = info;
}

#define OPCODE_STI 0xFB

/*
 * QEMU 7.2's VMRUN does not load the interrupt shadow, so an instruction of the guest has to make it again. STI changes
 * nothing else; the byte before RIP is executable, and does the same if it is the end of a MOV to SS with IF set.
 */
bool hw_before_sti(struct hw_cpu *cpu)
{
	struct vmcb *page = vmcb(cpu);
	u8 byte;

	if (!(page->control.interrupt_shadow & 1) || !(page->save.rflags & RFLAGS_IF) || !page->save.rip)
		return false;
	if (!guest_read(cpu, hw_observe_pc(cpu) - 1, &byte, 1) || byte != OPCODE_STI)
		return false;
	page->save.rip--;
	page->save.rflags &= ~RFLAGS_IF;
	page->control.interrupt_shadow = 0;
	return true;
}

void hw_inject(struct hw_cpu *cpu, u64 event) { vmcb(cpu)->control.event_inj = event; }
bool hw_event_pending(const struct hw_cpu *cpu) { return vmcb(cpu)->control.event_inj & SVM_EVENT_VALID; }
bool hw_interrupts_enabled(const struct hw_cpu *cpu) { return vmcb(cpu)->save.rflags & RFLAGS_IF; }
bool hw_in_shadow(const struct hw_cpu *cpu) { return vmcb(cpu)->control.interrupt_shadow & 1; }

struct hw_call hw_observe_call(const struct hw_cpu *cpu)
{
	const struct hw_vmpl *state = &cpu->state[cpu->vmpl];

	return (struct hw_call){ .rax = state->vmcb->save.rax, .rcx = state->gpr[HW_RCX], .rdx = state->gpr[HW_RDX] };
}
