/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "alternate.h"
#include "layout.h"
#include "vectors.h"

/* Bits that VMCB and VMSA have in common (vintr_ctrl 3B8, VMCB 060). */
#define VINTR_OFFER (VMSA_VINTR_IRQ | VMSA_VINTR_IGN_TPR | VMSA_VINTR_PRIO_MASK << VMSA_VINTR_PRIO_SHIFT | \
		     VMSA_VINTR_VECTOR_MASK << VMSA_VINTR_VECTOR_SHIFT)

/*
 * V_IRQ for VMRUN. QEMU delivers a virtual interrupt of a priority equal to V_TPR (ctl_has_irq), hardware only higher ones
 * (APM vol. 2, 15.21.4): it is held back here, and CR8 writes are intercepted meanwhile; see also injection.c.
 */
static void offer(struct hw_cpu *cpu, struct vmcb_control *control, u64 tpr)
{
	u64 priority = (cpu->offer >> SVM_V_PRIO_SHIFT) & VMSA_VINTR_PRIO_MASK;
	bool now = cpu->offer && ((cpu->offer & SVM_V_IGN_TPR) || priority > tpr);

	control->intercept_cr = cpu->offer ? (u32)SVM_INTERCEPT_CR8_WRITE : 0;
	control->vintr = SVM_V_INTR_MASKING | tpr | (now ? cpu->offer : 0);
	cpu->posted = now ? (int)((cpu->offer >> SVM_V_VECTOR_SHIFT) & VMSA_VINTR_VECTOR_MASK) : -1;
}

void alternate_load(struct hw_cpu *cpu, struct hw_vmpl *state, const struct vmsa *vmsa)
{
	struct vmcb_control *control = &state->vmcb->control;
	u64 vintr = vmsa->vintr_ctrl;
	u64 type = control->event_inj & SVM_EVENT_TYPE_MASK;

	cpu->offer = (vintr & VMSA_VINTR_IRQ) && (vintr & VMSA_VINTR_GIF) ? vintr & VINTR_OFFER : 0;
	cpu->injected = -1;
	state->busy = vintr & VMSA_VINTR_BUSY;
	if ((control->event_inj & SVM_EVENT_VALID) && type == SVM_EVENT_NMI) /* the vector is ignored (APM vol. 2, 15.20) */
		control->event_inj = (control->event_inj & ~SVM_EVENT_VECTOR) | X86_NMI;
	else if ((control->event_inj & SVM_EVENT_VALID) && type == SVM_EVENT_INTR)
		cpu->injected = (int)(control->event_inj & SVM_EVENT_VECTOR);
	offer(cpu, control, vintr & SVM_V_CR8);
}

void alternate_save(struct hw_cpu *cpu, struct hw_vmpl *state, struct vmsa *vmsa)
{
	vmsa->vintr_ctrl = (vmsa->vintr_ctrl & ~VMSA_VINTR_TPR_MASK) | (state->vmcb->control.vintr & SVM_V_CR8);
	if ((vmsa->vintr_ctrl & VMSA_VINTR_GIF) && !cpu->offer)
		vmsa->vintr_ctrl &= ~VMSA_VINTR_IRQ;
	if (!state->busy)
		vmsa->guest_exit_int_info = 0;
	cpu->posted = -1;
	cpu->injected = -1;
}

void alternate_set_tpr(struct hw_cpu *cpu, u8 cr8) { offer(cpu, &vmcb(cpu)->control, cr8); }

bool hw_alternate_can_take(const struct hw_cpu *cpu)
{
	const struct vmcb *page = vmcb(cpu);

	if (!cpu->state[cpu->vmpl].alternate)
		return false;
	if (page->control.event_inj & SVM_EVENT_VALID)
		return true;
	return (page->save.rflags & RFLAGS_IF) && (page->control.vintr & SVM_V_IRQ);
}

static void log_taken(struct hw_cpu *cpu, u8 vector)
{
	if (vector_add(cpu->taken_seen, vector) || log_at(cpu, 2))
		hw_log(cpu, (struct record){ .kind = RECORD_INTERRUPT, .rip = hw_observe_pc(cpu), .address = vector,
						 .value = RECORD_IRQ_SVSM });
}

/*
 * QEMU's VMRUN delivers an interrupt of EVENTINJ and leaves it in exception_index (helper_vmrun, SVM_EVTINJ_TYPE_INTR). If
 * the processor leaves the loop of its translations before the next #VMEXIT, at the end of a budget of -icount or kicked by
 * another thread, the interrupt is delivered once more, inside its handler. V_IRQ is delivered once: it carries the
 * interrupt to a guest that can take one now, before its first instruction.
 */
void alternate_before_entry(struct hw_cpu *cpu)
{
	struct vmcb *page = vmcb(cpu);
	u64 event = page->control.event_inj, vector = event & SVM_EVENT_VECTOR;

	cpu->carried = (event & (SVM_EVENT_VALID | SVM_EVENT_TYPE_MASK)) == (SVM_EVENT_VALID | SVM_EVENT_INTR) && !cpu->offer &&
		       hw_interrupts_enabled(cpu) && !hw_in_shadow(cpu);
	if (!cpu->carried)
		return;
	page->control.event_inj = 0;
	page->control.vintr |= SVM_V_IRQ | SVM_V_IGN_TPR | vector >> 4 << SVM_V_PRIO_SHIFT | vector << SVM_V_VECTOR_SHIFT;
}

/* As after an exit with EVENTINJ. An exit before the delivery counts as one that has cut it short. */
static void end_carrying(struct hw_cpu *cpu)
{
	struct vmcb_control *control = &vmcb(cpu)->control;

	if (!cpu->carried)
		return;
	cpu->carried = false;
	if (control->vintr & SVM_V_IRQ)
		control->exit_int_info = SVM_EVENT_VALID | SVM_EVENT_INTR | (u8)(control->vintr >> SVM_V_VECTOR_SHIFT);
	control->vintr &= ~VINTR_OFFER;
}

/* The guest has taken the interrupt of the VMSA, unless its delivery was interrupted (event_after_exit()). */
void alternate_after_exit(struct hw_cpu *cpu)
{
	struct hw_vmpl *state = current(cpu);
	u64 cut_short;

	end_carrying(cpu);
	cut_short = state->vmcb->control.exit_int_info & SVM_EVENT_VALID;
	if (cpu->injected >= 0 && !cut_short) {
		log_taken(cpu, (u8)cpu->injected);
		cpu->injected = -1;
	}
	if (cpu->posted >= 0 && !(state->vmcb->control.vintr & SVM_V_IRQ)) {
		log_taken(cpu, (u8)cpu->posted);
		cpu->offer = 0;
		offer(cpu, &state->vmcb->control, state->vmcb->control.vintr & SVM_V_CR8);
	}
}

/*
 * An exit to the hypervisor has cut the delivery of an event short. The hypervisor cannot inject it again: software of a
 * higher VMPL has to, and the VMSA cannot be run before (APM vol. 2, 15.36.16, VMEXIT_BUSY; so does OpenVMM's
 * run_vp_snp).
 */
void alternate_cut_short(struct hw_cpu *cpu)
{
	struct hw_vmpl *state = current(cpu);
	struct vmcb_control *control = &state->vmcb->control;
	struct vmsa *vmsa = (struct vmsa *)(PHYSICAL_WINDOW + state->vmsa_spa);
	u64 info = control->exit_int_info;

	if (!(info & SVM_EVENT_VALID))
		return;
	if (control->event_inj & SVM_EVENT_VALID) {
		info = control->event_inj; /* as event_after_exit() has corrected it */
	} else if ((info & SVM_EVENT_TYPE_MASK) != SVM_EVENT_SOFTWARE) { /* V_IRQ is set again */
		info = SVM_EVENT_VALID | SVM_EVENT_INTR | (info & SVM_EVENT_VECTOR);
		cpu->offer = 0;
		offer(cpu, control, control->vintr & SVM_V_CR8);
	}
	control->event_inj = 0;
	cpu->injected = -1;
	vmsa->guest_exit_int_info = info;
	vmsa->vintr_ctrl |= VMSA_VINTR_BUSY;
	state->busy = true;
}

void hw_observe_vectors_anew(struct hw_cpu *cpu)
{
	for (u32 i = 0; i < APIC_VECTOR_WORDS; i++)
		cpu->taken_seen[i] = 0;
}
