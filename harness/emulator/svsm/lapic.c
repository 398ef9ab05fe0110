/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lapic.h"
#include "ipi_destination.h"
#include "rflags.h"
#include "svm_event.h"
#include "vectors.h"

#define CLASS_OF(vector) ((vector) >> 4)

/* The vector in service with the highest class, or 0: class 0 is never in service. */
static u8 in_service(const struct lapic *lapic)
{
	return lapic->classes ? lapic->isr[31 - __builtin_clz(lapic->classes)] : 0;
}

/* The class is above all those in service. */
static void begin_service(struct lapic *lapic, u8 vector)
{
	vector_clear(lapic->irr, vector);
	lapic->isr[CLASS_OF(vector)] = vector;
	lapic->classes |= (u16)BIT(CLASS_OF(vector));
}

static void end_service(struct lapic *lapic)
{
	lapic->classes &= (u16)~BIT(CLASS_OF(in_service(lapic)));
}

void lapic_init(struct lapic *lapic, u32 id)
{
	*lapic = (struct lapic){ .id = id };
}

void lapic_allow(struct lapic *lapic, u8 vector, bool allowed)
{
	if (allowed)
		vector_set(lapic->allowed, vector);
	else
		vector_clear(lapic->allowed, vector);
}

void lapic_allow_all(struct lapic *lapic, bool allowed)
{
	for (u32 i = 0; i < APIC_VECTOR_WORDS; i++)
		if (!allowed)
			lapic->allowed[i] = 0;
		else if (i == 0)
			lapic->allowed[i] |= vector_mask(SVSM_APIC_VECTOR_ALL_MIN);
		else
			lapic->allowed[i] = UINT32_MAX;
}

void lapic_post(struct lapic *lapic, u8 vector)
{
	vector_set(lapic->irr, vector);
	lapic->update = true;
}

static bool host_may_post(const struct lapic *lapic, u8 vector)
{
	return vector >= GHCB_DOORBELL_FIRST_VECTOR && vector_test(lapic->allowed, vector);
}

void lapic_take_host(struct lapic *lapic, struct ghcb_doorbell_vmpl *entry)
{
	/* Read in one access, so that a vector and its flags belong together. Later interrupts are posted separately. */
	u32 status = __atomic_fetch_and(&entry->status,
					~(GHCB_DOORBELL_STATUS_VECTOR | GHCB_DOORBELL_STATUS_LEVEL |
					  GHCB_DOORBELL_STATUS_MULTIPLE | GHCB_DOORBELL_STATUS_VECTOR31),
					__ATOMIC_SEQ_CST);
	u8 vector = status & GHCB_DOORBELL_STATUS_VECTOR;

	if ((status & GHCB_DOORBELL_STATUS_LEVEL) && host_may_post(lapic, vector)) {
		vector_set(lapic->tmr, vector);
		vector_set(lapic->host_tmr, vector);
		lapic_post(lapic, vector);
	}
	if (status & GHCB_DOORBELL_STATUS_MULTIPLE) {
		if ((status & GHCB_DOORBELL_STATUS_VECTOR31) && host_may_post(lapic, GHCB_DOORBELL_FIRST_VECTOR))
			lapic_post(lapic, GHCB_DOORBELL_FIRST_VECTOR);
		for (u32 i = 1; i < APIC_VECTOR_WORDS; i++) {
			u32 posted = __atomic_exchange_n(&entry->irr[i - 1], 0, __ATOMIC_SEQ_CST) & lapic->allowed[i];

			lapic->irr[i] |= posted;
			lapic->update |= posted != 0;
		}
	} else if (!(status & GHCB_DOORBELL_STATUS_LEVEL) && host_may_post(lapic, vector)) {
		lapic_post(lapic, vector);
	}
}

void lapic_take_ipis(struct lapic *lapic, struct lapic_inbox *inbox)
{
	if (!__atomic_exchange_n(&inbox->pending, 0, __ATOMIC_SEQ_CST))
		return;
	for (u32 i = 0; i < APIC_VECTOR_WORDS; i++)
		lapic->irr[i] |= __atomic_exchange_n(&inbox->irr[i], 0, __ATOMIC_SEQ_CST);
	if (__atomic_exchange_n(&inbox->nmi, 0, __ATOMIC_SEQ_CST))
		lapic->nmi = true;
	lapic->update = true;
}

static bool icr_is_nmi(u64 icr)
{
	return (icr & APIC_ICR_DELIVERY) >> APIC_ICR_DELIVERY_SHIFT == APIC_DELIVER_NMI;
}

void lapic_send(struct lapic_inbox *inbox, u64 icr)
{
	u8 vector = icr & APIC_ICR_VECTOR;

	if (icr_is_nmi(icr))
		__atomic_store_n(&inbox->nmi, 1, __ATOMIC_SEQ_CST);
	else
		__atomic_fetch_or(&inbox->irr[vector_word(vector)], vector_mask(vector), __ATOMIC_SEQ_CST);
	__atomic_store_n(&inbox->pending, 1, __ATOMIC_SEQ_CST);
}

u8 lapic_tpr(const struct vmsa *vmsa)
{
	return (u8)((vmsa->vintr_ctrl & VMSA_VINTR_TPR_MASK) << 4); /* V_TPR is CR8: four bits */
}

bool lapic_interrupts_enabled(const struct vmsa *vmsa)
{
	return vmsa->rflags & RFLAGS_IF;
}

bool lapic_in_shadow(const struct vmsa *vmsa)
{
	return vmsa->vintr_ctrl & VMSA_VINTR_SHADOW;
}

static u8 ppr(const struct lapic *lapic, const struct vmsa *vmsa)
{
	u8 vector = in_service(lapic);
	u8 tpr = lapic_tpr(vmsa);

	return CLASS_OF(vector) > CLASS_OF(tpr) ? vector & APIC_PRIORITY_CLASS : tpr;
}

static u64 event(u64 type, u8 vector)
{
	return SVM_EVENT_VALID | type | vector;
}

static bool event_is(const struct vmsa *vmsa, u64 type)
{
	return (vmsa->event_inj & (SVM_EVENT_VALID | SVM_EVENT_TYPE_MASK)) == event(type, 0);
}

static void end_of_interrupt(struct lapic *lapic)
{
	u8 vector = in_service(lapic);

	if (vector == 0)
		return;
	end_service(lapic);
	if (vector_test(lapic->host_tmr, vector))
		vector_set(lapic->host_eoi, vector);
	vector_clear(lapic->host_tmr, vector);
	vector_clear(lapic->tmr, vector);
	lapic->update = true;
	lapic->lazy_eoi = false;
}

static void take_back(struct lapic *lapic)
{
	u8 vector = in_service(lapic);

	end_service(lapic);
	lapic_post(lapic, vector);
	lapic->lazy_eoi = false;
}

/*
 * At most one interrupt waits in the VMSA: the one in service with the highest class. Another vector there is not
 * from the SVSM (the guest's vCPU has another VMSA) and stays.
 */
void lapic_rewind(struct lapic *lapic, struct lapic_guest *guest)
{
	struct vmsa *vmsa = guest->vmsa;
	u8 vector = in_service(lapic);

	if (lapic->injected && event_is(vmsa, SVM_EVENT_INTR) &&
	    (vmsa->event_inj & SVM_EVENT_VECTOR) == vector) {
		vmsa->event_inj = 0;
		take_back(lapic);
	}
	if (lapic->queued && (vmsa->vintr_ctrl & VMSA_VINTR_IRQ) &&
	    (vmsa->vintr_ctrl >> VMSA_VINTR_VECTOR_SHIFT & VMSA_VINTR_VECTOR_MASK) == vector) {
		vmsa->vintr_ctrl &= ~VMSA_VINTR_IRQ;
		take_back(lapic);
	}
	lapic->injected = false;
	lapic->queued = false;
	if (lapic->lazy_eoi && guest->has_caa && guest->no_eoi_required == 0)
		end_of_interrupt(lapic);
}

/* Delivers at the guest's next instruction, if the guest can handle the interrupt there. */
static bool inject(const struct lapic *lapic, struct vmsa *vmsa, u8 vector)
{
	if (!lapic_interrupts_enabled(vmsa) || lapic_in_shadow(vmsa) || CLASS_OF(vector) <= CLASS_OF(ppr(lapic, vmsa)) ||
	    (vmsa->event_inj & SVM_EVENT_VALID))
		return false;
	vmsa->event_inj = event(SVM_EVENT_INTR, vector);
	return true;
}

/* Delivers when RFLAGS.IF, shadow and TPR allow it. */
static void queue(struct vmsa *vmsa, u8 vector)
{
	vmsa->vintr_ctrl &= ~(VMSA_VINTR_VECTOR_MASK << VMSA_VINTR_VECTOR_SHIFT |
			      VMSA_VINTR_PRIO_MASK << VMSA_VINTR_PRIO_SHIFT | VMSA_VINTR_IGN_TPR);
	vmsa->vintr_ctrl |= (u64)vector << VMSA_VINTR_VECTOR_SHIFT | (u64)CLASS_OF(vector) << VMSA_VINTR_PRIO_SHIFT |
			    VMSA_VINTR_IRQ;
}

static void present_nmi(struct lapic *lapic, struct vmsa *vmsa)
{
	if (!lapic->nmi)
		return;
	if ((vmsa->event_inj & SVM_EVENT_VALID) && !event_is(vmsa, SVM_EVENT_NMI)) {
		lapic->update = true; /* an exception of the guest is delivered first */
		return;
	}
	vmsa->event_inj = event(SVM_EVENT_NMI, 0);
	lapic->nmi = false;
}

static bool is_raised_again(u64 info)
{
	u64 type = info & SVM_EVENT_TYPE_MASK, vector = info & SVM_EVENT_VECTOR;

	return type == SVM_EVENT_SOFTWARE || (type == SVM_EVENT_EXCEPTION && (vector == X86_BP || vector == X86_OF));
}

void lapic_resume_event(struct lapic *lapic, struct vmsa *vmsa)
{
	u64 info = vmsa->guest_exit_int_info;

	if (!(vmsa->vintr_ctrl & VMSA_VINTR_BUSY))
		return;
	vmsa->vintr_ctrl &= ~VMSA_VINTR_BUSY;
	vmsa->guest_exit_int_info = 0;
	if (!(info & SVM_EVENT_VALID) || is_raised_again(info))
		return;
	vmsa->event_inj = info;
	if ((info & SVM_EVENT_TYPE_MASK) == SVM_EVENT_INTR && lapic->queued) {
		lapic->queued = false;
		lapic->injected = true;
	}
}

void lapic_present(struct lapic *lapic, struct lapic_guest *guest)
{
	bool alone = false;
	int highest;
	u8 vector;

	if (!lapic->update)
		return;
	lapic_rewind(lapic, guest);
	lapic->update = false;
	present_nmi(lapic, guest->vmsa);

	/* The code below decides again about the EOI. */
	lapic->lazy_eoi = false;
	guest->no_eoi_required = 0;

	/* TPR does not matter here: an interrupt that waits for it is queued. */
	highest = vector_highest(lapic->irr);
	vector = (u8)highest;
	if (highest == VECTOR_NONE || CLASS_OF(vector) <= CLASS_OF(in_service(lapic)))
		return;
	if (inject(lapic, guest->vmsa, vector)) {
		lapic->injected = true;
	} else {
		/* A lower interrupt in service may end before this one is delivered: the EOI would be ambiguous. */
		alone = lapic->classes == 0;
		queue(guest->vmsa, vector);
		lapic->queued = true;
	}
	begin_service(lapic, vector);

	/* The source of a level-triggered interrupt waits for the EOI, and so does the next vector. */
	if ((lapic->injected || alone) && guest->has_caa && !vector_test(lapic->tmr, vector) &&
	    vector_highest(lapic->irr) == VECTOR_NONE) {
		guest->no_eoi_required = 1;
		lapic->lazy_eoi = true;
	}
}

/* A word of the ISR. The ISR is stored by class: two classes a word. */
static u32 isr_word(const struct lapic *lapic, u32 word)
{
	u32 value = 0;

	for (u32 class = 2 * word; class < 2 * word + 2; class++)
		if (lapic->classes & BIT(class))
			value |= vector_mask(lapic->isr[class]);
	return value;
}

enum access { READ = 1, WRITE = 2 };

struct rule {
	u8 access; /* enum access; 0: no such register */
	u64 limit; /* a write of more is refused */
};

#define VECTOR_REGISTERS(first) (first) >> 4 ... ((first) >> 4) + APIC_VECTOR_WORDS - 1

/* By register number: offset >> 4, MSR - 800. */
static const struct rule rules[] = {
	[APIC_ID >> 4] = { READ, 0 },
	[APIC_TPR >> 4] = { READ | WRITE, UINT8_MAX },
	[APIC_PPR >> 4] = { READ, 0 },
	[APIC_EOI >> 4] = { WRITE, 0 },
	[APIC_LDR >> 4] = { READ, 0 },
	[VECTOR_REGISTERS(APIC_ISR)] = { READ, 0 },
	[VECTOR_REGISTERS(APIC_TMR)] = { READ, 0 },
	[VECTOR_REGISTERS(APIC_IRR)] = { READ, 0 },
	[APIC_ICR >> 4] = { READ | WRITE, UINT64_MAX },
	[APIC_SELF_IPI >> 4] = { WRITE, UINT8_MAX },
};

static u64 check(u64 msr, enum access access, u64 value)
{
	u64 number = msr - MSR_X2APIC_FIRST;
	struct rule rule = number < sizeof(rules) / sizeof(rules[0]) ? rules[number] : (struct rule){ 0, 0 };

	if (!rule.access)
		return SVSM_ERR_INVALID_ADDRESS;
	return (rule.access & access) && value <= rule.limit ? SVSM_SUCCESS : SVSM_ERR_INVALID_PARAMETER;
}

/* Of registers that the rules let read. */
static u64 register_value(const struct lapic *lapic, const struct vmsa *vmsa, u32 offset)
{
	u32 word = (offset & (APIC_VECTOR_WORDS * 16 - 1)) / 16;

	switch (offset) {
	case APIC_ID:
		return lapic->id;
	case APIC_TPR:
		return lapic_tpr(vmsa);
	case APIC_PPR:
		return ppr(lapic, vmsa);
	case APIC_LDR:
		return x2apic_ldr(lapic->id);
	case APIC_ISR ... APIC_TMR - 1:
		return isr_word(lapic, word);
	case APIC_TMR ... APIC_IRR - 1:
		return lapic->tmr[word];
	case APIC_IRR ... APIC_ESR - 1:
		return lapic->irr[word];
	default:
		return lapic->icr;
	}
}

u64 lapic_read(struct lapic *lapic, struct lapic_guest *guest, u64 msr, u64 *value)
{
	u64 result = check(msr, READ, 0);

	lapic_rewind(lapic, guest);
	if (result == SVSM_SUCCESS)
		*value = register_value(lapic, guest->vmsa, (u32)(msr - MSR_X2APIC_FIRST) << 4);
	return result;
}

static u64 write_icr(struct lapic *lapic, u64 icr)
{
	u64 delivery = (icr & APIC_ICR_DELIVERY) >> APIC_ICR_DELIVERY_SHIFT;

	if ((icr & (APIC_ICR_X2_RESERVED | APIC_ICR_BUSY)) ||
	    (delivery != APIC_DELIVER_FIXED && delivery != APIC_DELIVER_NMI))
		return SVSM_ERR_INVALID_PARAMETER;
	lapic->icr = icr;
	if (!x2apic_ipi_reaches(icr, lapic->id, lapic->id))
		return SVSM_SUCCESS;
	if (icr_is_nmi(icr)) {
		lapic->nmi = true;
		lapic->update = true;
	} else {
		lapic_post(lapic, icr & APIC_ICR_VECTOR);
	}
	return SVSM_SUCCESS;
}

u64 lapic_write(struct lapic *lapic, struct lapic_guest *guest, u64 msr, u64 value)
{
	u64 result = check(msr, WRITE, value);
	struct vmsa *vmsa = guest->vmsa;

	lapic_rewind(lapic, guest);
	if (result != SVSM_SUCCESS)
		return result;
	switch ((msr - MSR_X2APIC_FIRST) << 4) {
	case APIC_TPR:
		vmsa->vintr_ctrl = (vmsa->vintr_ctrl & ~VMSA_VINTR_TPR_MASK) | CLASS_OF(value);
		break;
	case APIC_EOI:
		end_of_interrupt(lapic);
		break;
	case APIC_ICR:
		return write_icr(lapic, value);
	case APIC_SELF_IPI:
		lapic_post(lapic, (u8)value);
		break;
	}
	return SVSM_SUCCESS;
}

void lapic_hand_over(struct lapic *lapic, struct lapic_guest *guest, struct ghcb_doorbell_vmpl *entry)
{
	u32 status;

	lapic_rewind(lapic, guest);
	if (event_is(guest->vmsa, SVM_EVENT_NMI)) {
		guest->vmsa->event_inj = 0;
		lapic->nmi = true;
	}
	/* With MULTIPLE set the hypervisor looks at irr[] only: an edge-triggered vector in the status moves there. */
	status = __atomic_fetch_or(&entry->status,
				   GHCB_DOORBELL_STATUS_MULTIPLE | (lapic->nmi ? GHCB_DOORBELL_STATUS_NMI : 0),
				   __ATOMIC_SEQ_CST);
	if (!(status & GHCB_DOORBELL_STATUS_LEVEL) && (status & GHCB_DOORBELL_STATUS_VECTOR) >= GHCB_DOORBELL_FIRST_VECTOR)
		vector_set(lapic->irr, status & GHCB_DOORBELL_STATUS_VECTOR);
	if (vector_test(lapic->irr, GHCB_DOORBELL_FIRST_VECTOR))
		__atomic_fetch_or(&entry->status, GHCB_DOORBELL_STATUS_VECTOR31, __ATOMIC_SEQ_CST);
	for (u32 i = 0; i < APIC_VECTOR_WORDS; i++) {
		if (i > 0)
			__atomic_fetch_or(&entry->irr[i - 1], lapic->irr[i], __ATOMIC_SEQ_CST);
		__atomic_store_n(&entry->isr[i], isr_word(lapic, i), __ATOMIC_SEQ_CST);
	}
	guest->no_eoi_required = 0;
}

void lapic_forget_caa(struct lapic *lapic, struct lapic_guest *guest)
{
	lapic_rewind(lapic, guest);
	lapic->lazy_eoi = false;
}

bool lapic_next_host_eoi(struct lapic *lapic, u8 *vector)
{
	int next = vector_highest(lapic->host_eoi);

	if (next == VECTOR_NONE)
		return false;
	*vector = (u8)next;
	vector_clear(lapic->host_eoi, *vector);
	return true;
}
