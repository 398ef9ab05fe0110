/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Interrupts for the guest, through its virtual APIC.
 *
 * QEMU's APIC is then the host's own: it takes the interrupts of QEMU's devices (same vectors and
 * destinations as the guest programmed into the I/O APIC) and runs the timer.
 */
#include "apic.h"
#include "cpu.h"
#include "host.h"
#include "vectors.h"

#define TIMER_VECTOR 0xFE /* of the host: a local vector, which guests do not use for devices */
#define NMI_VECTOR   2
#define PIC_POLL_NS  4000000ull
#define DIVIDE_BY_1  0xB

/* 8259: once the guest has masked it, it asks for nothing any more. */
#define PIC_MASTER_IMR 0x21
#define PIC_ALL_MASKED 0xFF

static u32 physical_read(u32 offset) { return mmio_read32(APIC_DEFAULT_BASE + offset); }
static void physical_write(u32 offset, u32 value) { mmio_write32(APIC_DEFAULT_BASE + offset, value); }

/* QEMU's APIC accepts what that of the boot vCPU would: its logical ID follows. */
static void mirror_destination(struct vcpu *boot)
{
	physical_write(APIC_DFR, vapic_is_x2apic(guest_apic(boot)) ? ~0u : guest_apic(boot)->dfr);
	physical_write(APIC_LDR, vapic_is_x2apic(guest_apic(boot)) ? 1u << 24 : guest_apic(boot)->ldr);
}

/*
 * The PIC's INTR pin. QEMU acknowledges the PIC when the host takes its interrupt, so the host takes it
 * only when the guest can: closed, the pin's request stays in the PIC. The write to TPR makes QEMU look again.
 */
static void set_lint0(bool open)
{
	physical_write(APIC_LVT_LINT0, APIC_RESET_LINT0_BSP | (open ? 0 : APIC_LVT_MASKED));
	physical_write(APIC_TPR, 0);
}

static bool has_alternate_guest(struct vcpu *vcpu) { return vcpu->state[vcpu->guest_vmpl].alternate; }

static void mirror_lint0(struct vcpu *boot)
{
	set_lint0(vapic_accepts_extint(guest_apic(boot)) && !boot->pic_waiting && !has_alternate_guest(boot));
}

void apic_mirror_pic(struct vcpu *vcpu) { mirror_lint0(boot_vcpu(vcpu)); }

void apic_setup(struct vcpu *vcpu)
{
	const struct vapic_config config = {
		.apic_id = vcpu->index,
		.bsp = vcpu->index == 0,
		.x2apic = true,
		.tsc_deadline = true,
		.phys_bits = vcpu->host->config->phys_bits,
	};

	vcpu->apic_dirty = true;
	vcpu->posted = -1;
	vcpu->extint = -1;
	for (u32 vmpl = 0; vmpl < CONFIG_VMPLS; vmpl++)
		vapic_reset(&vcpu->apic[vmpl], &config);
	alternate_setup(vcpu);
	if (!vcpu->apic_virtual || vcpu != boot_vcpu(vcpu))
		return;
	vcpu->host->timer_armed_ns = NO_DEADLINE;
	vcpu->host->slice_end_ns = NO_DEADLINE;
	physical_write(APIC_SPIV, APIC_RESET_SPIV | APIC_SPIV_ENABLE);
	physical_write(APIC_TPR, 0);
	physical_write(APIC_LVT_TIMER, TIMER_VECTOR);
	physical_write(APIC_TIMER_DIVIDE, DIVIDE_BY_1); /* by 1: a tick is 1 ns */
	mirror_destination(vcpu);
	mirror_lint0(vcpu);
}

static u64 earlier(u64 a, u64 b) { return a < b ? a : b; }

/* When the next virtual timer is due, the guest's or VMPL0's. */
static u64 next_deadline(struct vcpu *vcpu)
{
	u64 deadline = earlier(vapic_timer_deadline(guest_apic(vcpu)), vapic_timer_deadline(&vcpu->apic[0]));

	return vcpu->delayed_until_ns ? earlier(deadline, vcpu->delayed_until_ns) : deadline;
}

/* Arm QEMU's timer for what comes first: a virtual timer of any vCPU, or the end of the slice. */
static void arm_timer(struct vcpu *vcpu)
{
	struct host *host = vcpu->host;
	u64 deadline = schedule_slice_end(vcpu);
	u64 now, wait;

	for (u32 i = 0; i < host->vcpus; i++)
		deadline = earlier(deadline, next_deadline(&host->vcpu[i]));
	/* The guest may become ready without an exit: look again for the PIC. */
	if (vcpu->pic_waiting && deadline > now_ns(host) + PIC_POLL_NS)
		deadline = host->timer_armed_ns != NO_DEADLINE ? host->timer_armed_ns : now_ns(host) + PIC_POLL_NS;
	if (deadline == host->timer_armed_ns)
		return;
	host->timer_armed_ns = deadline;
	if (deadline == NO_DEADLINE) {
		physical_write(APIC_TIMER_INITIAL, 0);
		return;
	}
	now = now_ns(host);
	wait = deadline > now ? deadline - now : 1;
	physical_write(APIC_TIMER_INITIAL, wait > 0xFFFFFFFF ? 0xFFFFFFFF : (u32)wait);
}

void apic_post(struct vcpu *vcpu, struct vapic *apic, u8 vector, bool level, enum record_irq_source source)
{
	if (vapic_post(apic, vector, level))
		vcpu->irq_source[vector] = (u8)source;
}

static void run_timer(struct vcpu *vcpu)
{
	struct vapic *apic = guest_apic(vcpu);

	if (vapic_timer_deadline(apic) != NO_DEADLINE && vapic_timer_run(apic, now_ns(vcpu->host)))
		vcpu->irq_source[apic->lvt[0] & APIC_LVT_VECTOR] = RECORD_IRQ_TIMER;
	if (has_doorbell(vcpu) && vapic_timer_deadline(&vcpu->apic[0]) != NO_DEADLINE)
		vapic_timer_run(&vcpu->apic[0], now_ns(vcpu->host));
}

/* Of every vCPU: those that are not in the processor become ready by it. */
static void run_timers(struct host *host)
{
	for (u32 i = 0; i < host->vcpus; i++)
		run_timer(&host->vcpu[i]);
}

/* Choose what V_IRQ offers to the guest; it is taken when the guest's IF, TPR and shadow allow. */
static void offer_interrupt(struct vcpu *vcpu)
{
	struct vmcb_control *control = &vmcb(vcpu)->control;
	int vector = vapic_pending(guest_apic(vcpu));
	u64 vintr = SVM_V_INTR_MASKING | (vapic_tpr(guest_apic(vcpu)) >> 4);

	vcpu->posted_extint = vector < 0 && vcpu->extint >= 0;
	if (vcpu->posted_extint)
		vector = vcpu->extint;
	vcpu->posted = vector;
	/*
	 * QEMU cannot bear a CR8 write while V_IRQ is pending (an assertion), and a lower CR8 may let in what is held
	 * back. Otherwise V_TPR has the value at the exit.
	 */
	control->intercept_cr = vector >= 0 || vapic_requested(guest_apic(vcpu)) ? (u32)SVM_INTERCEPT_CR8_WRITE : 0;
	if (vector >= 0)
		vintr |= SVM_V_IRQ | (u64)(vector >> 4) << SVM_V_PRIO_SHIFT | (u64)vector << SVM_V_VECTOR_SHIFT |
			 (vcpu->posted_extint ? SVM_V_IGN_TPR : 0);
	control->vintr = vintr;
	vcpu->vintr = vintr;
}

/* The guest can take an interrupt at its next instruction. */
static bool guest_is_ready(struct vcpu *vcpu)
{
	const struct vmcb *page = vmcb(vcpu);

	return is_guest(vcpu) && (page->save.rflags & RFLAGS_IF) && !(page->control.interrupt_shadow & 1) &&
	       !(page->control.event_inj & SVM_EVENT_VALID);
}

static u64 to_tsc(struct vcpu *vcpu, u64 ns)
{
	if (ns == NO_DEADLINE)
		return NO_DEADLINE;
	return vcpu->host->tsc_start + (u64)(((unsigned __int128)ns * vcpu->host->ns_to_tsc) >> 32);
}

/* Restricted injection of VMPL0 and Alternate Injection of the guest. */
static void update_doorbell(struct vcpu *vcpu)
{
	if (has_alternate_guest(vcpu))
		alternate_post(vcpu);
	doorbell_flush(vcpu);
	if (vcpu->doorbell.signal && vcpu->vmpl != 0) {
		vmpl_return(vcpu, SVM_EXIT_INTR);
		vcpu->apic_dirty = false; /* nothing has changed since */
	}
	if (vcpu->vmpl == 0)
		doorbell_before_entry(vcpu);
}

static void update(struct vcpu *vcpu)
{
	struct vmcb_control *control;

	vcpu->apic_dirty = false;
	run_timers(vcpu->host);
	if (vcpu->pic_waiting && (guest_is_ready(vcpu) || inb(PIC_MASTER_IMR) == PIC_ALL_MASKED)) {
		vcpu->pic_waiting = false;
		mirror_lint0(vcpu);
	}
	if (has_doorbell(vcpu))
		update_doorbell(vcpu);
	arm_timer(vcpu);
	vcpu->deadline_tsc = to_tsc(vcpu, vcpu->host->timer_armed_ns);
	if (!is_guest(vcpu) || current(vcpu)->alternate)
		return; /* a switch of VMPLs makes it dirty again */
	control = &vmcb(vcpu)->control;
	if (vcpu->nmi_pending && !(control->event_inj & SVM_EVENT_VALID)) {
		control->event_inj = SVM_EVENT_NMI | SVM_EVENT_VALID | 2;
		vcpu->nmi_pending = false;
	}
	offer_interrupt(vcpu);
	vcpu->apic_dirty = vcpu->nmi_pending || vcpu->pic_waiting;
}

void apic_before_entry(struct vcpu *vcpu)
{
	if (vcpu->apic_virtual && ((vcpu->apic_dirty && (is_guest(vcpu) || has_doorbell(vcpu))) || rdtsc() >= vcpu->deadline_tsc))
		update(vcpu);
}

static void taken(struct vcpu *vcpu)
{
	int vector = vcpu->posted;

	vcpu->posted = -1;
	if (log_at(vcpu, 2))
		log_write(vcpu, (struct record){ .kind = RECORD_INTERRUPT, .rip = guest_pc(vcpu), .address = (u64)vector,
						 .value = vcpu->posted_extint ? RECORD_IRQ_PIC : vcpu->irq_source[vector] });
	if (vcpu->posted_extint)
		vcpu->extint = -1;
	else
		vapic_accept(guest_apic(vcpu), (u8)vector);
}

/* CR8 as the guest left it; and it has taken what was offered when V_IRQ is clear again. */
void apic_after_exit(struct vcpu *vcpu)
{
	u64 vintr = vmcb(vcpu)->control.vintr;

	if (current(vcpu)->alternate) {
		alternate_after_exit(vcpu);
		return;
	}
	if (!vcpu->apic_virtual || !is_guest(vcpu) || !((vintr ^ vcpu->vintr) & (SVM_V_CR8 | SVM_V_IRQ)))
		return;
	vcpu->apic_dirty = true;
	if ((vintr ^ vcpu->vintr) & SVM_V_CR8)
		vapic_set_tpr(guest_apic(vcpu), (u8)((vintr & SVM_V_CR8) << 4));
	if (vcpu->posted >= 0 && !(vintr & SVM_V_IRQ))
		taken(vcpu);
	vcpu->vintr = vintr;
}

/* VMPL0 has to run: for itself, or for a guest with Alternate Injection. */
static bool is_signalled(struct vcpu *vcpu)
{
	if (!has_doorbell(vcpu))
		return false;
	if (has_alternate_guest(vcpu))
		alternate_post(vcpu);
	doorbell_flush(vcpu);
	return vcpu->doorbell.signal;
}

bool apic_wakes(struct vcpu *vcpu)
{
	bool enabled = vmcb(vcpu)->save.rflags & RFLAGS_IF;

	run_timer(vcpu);
	if (current(vcpu)->alternate && alternate_can_take(vcpu))
		return true;
	if (is_signalled(vcpu))
		return true;
	if (!is_guest(vcpu))
		return vcpu->vmsa_came;
	if (current(vcpu)->alternate)
		return false;
	return vcpu->nmi_pending ||
	       (enabled && (vapic_pending(guest_apic(vcpu)) >= 0 || vcpu->extint >= 0 || vcpu->pic_waiting));
}

/* The PIC is acknowledged only for a vCPU that takes its interrupt: it is closed off otherwise. */
void apic_sleep(struct vcpu *vcpu)
{
	struct vcpu *boot = boot_vcpu(vcpu);
	bool takes_pic = vmcb(boot)->save.rflags & RFLAGS_IF;

	arm_timer(vcpu);
	if (!takes_pic)
		set_lint0(false);
	interrupts_wait();
	if (!takes_pic)
		mirror_lint0(boot);
}

void apic_physical_interrupt(struct vcpu *vcpu)
{
	struct vcpu *boot = boot_vcpu(vcpu);
	u64 before = vcpu->host->interrupts;

	vcpu->apic_dirty = true;
	if (guest_is_ready(boot) || has_alternate_guest(boot)) { /* then the PIC is closed off */
		interrupts_take();
	} else {
		set_lint0(false);
		interrupts_take();
		boot->pic_waiting = vapic_accepts_extint(guest_apic(boot)) && vcpu->host->interrupts == before;
		mirror_lint0(boot);
	}
	schedule_tick(vcpu);
}

/* QEMU's APIC delivered `vector` to the host (entry.S). */
void host_interrupt(struct vcpu *current_vcpu, u32 vector)
{
	struct vcpu *vcpu = boot_vcpu(current_vcpu); /* whose APIC ID it is */
	u32 word = APIC_ISR + vector_word(vector) * 0x10;
	bool level;
	u64 icr;

	vcpu->host->interrupts++;
	vcpu->apic_dirty = true;
	if (vector == NMI_VECTOR) { /* of a device: an I/O APIC entry or an MSI in NMI mode */
		vcpu->nmi_pending = true;
		return;
	}
	if (!(physical_read(word) & vector_mask(vector))) {
		vcpu->extint = (int)vector; /* from the PIC: there is nothing in service */
		return;
	}
	if (vector == TIMER_VECTOR) {
		vcpu->host->timer_armed_ns = NO_DEADLINE;
		physical_write(APIC_EOI, 0);
		return;
	}
	level = physical_read(APIC_TMR + vector_word(vector) * 0x10) & vector_mask(vector);
	if (level) /* Ending it now would raise it at once again: the line stays up until the guest has served the device. */
		vector_set(vcpu->level, vector);
	else
		physical_write(APIC_EOI, 0);
	if (ioapic_route(vcpu->host, (u8)vector, &icr))
		ipi_from_device(vcpu->host, icr, level);
	else
		apic_post(vcpu, guest_apic(vcpu), (u8)vector, level, RECORD_IRQ_IOAPIC);
}

/* A level-triggered interrupt is over for the guest. A physical EOI ends the highest in service: keep that order. */
void apic_end_level(struct vcpu *of, u8 vector)
{
	struct vcpu *vcpu = boot_vcpu(of);
	int top;

	if (!vector_test(vcpu->level, vector))
		return;
	vector_set(vcpu->eoi_owed, vector);
	while ((top = vector_highest(vcpu->level)) >= 0 && vector_test(vcpu->eoi_owed, (u32)top)) {
		vector_clear(vcpu->level, (u32)top);
		vector_clear(vcpu->eoi_owed, (u32)top);
		physical_write(APIC_EOI, 0);
	}
}

static bool has_somewhere(struct host *host, u32 vector)
{
	for (u32 i = 0; i < host->vcpus; i++) {
		const struct vapic *apic = guest_apic(&host->vcpu[i]);

		if (vector_test(apic->irr, vector) || vector_test(apic->isr, vector))
			return true;
	}
	return false;
}

/* Level-triggered interrupts that came while the guest's APIC was disabled: the device shall try again. */
static void retry_dropped(struct vcpu *vcpu)
{
	for (u32 vector = 0; vector < VECTOR_END; vector++) {
		if (vector_test(vcpu->level, vector) && !has_somewhere(vcpu->host, vector))
			apic_end_level(vcpu, (u8)vector);
	}
}

/* Of an access by the VMPL that runs, to its own APIC. */
void apic_carry_out(struct vcpu *vcpu, const struct vapic_effect *effect)
{
	struct vapic *apic = own_apic(vcpu);

	vcpu->apic_dirty = true;
	if (effect->base_changed) /* what the page showed as a device's is the APIC's now */
		npt_unmap(vcpu->host, vapic_base(apic) & APIC_BASE_ADDRESS, false);
	if (effect->ipi)
		ipi_send(vcpu, effect->icr);
	if (!is_guest(vcpu)) /* devices know the guest's APIC only */
		return;
	if (effect->eoi && effect->eoi_level)
		apic_end_level(vcpu, effect->eoi_vector);
	if (vcpu != boot_vcpu(vcpu)) /* what follows makes the processor's APIC like that of the boot vCPU */
		return;
	if (effect->destination_changed || effect->base_changed) {
		mirror_destination(vcpu);
		if (vapic_is_enabled(apic) && (apic->spiv & APIC_SPIV_ENABLE) && !has_alternate_guest(vcpu))
			retry_dropped(vcpu);
	}
	if (effect->lint_changed || effect->base_changed)
		mirror_lint0(vcpu);
}
