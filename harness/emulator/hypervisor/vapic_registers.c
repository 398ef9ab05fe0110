/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The virtual local APIC's registers and modes. */
#include "vapic_internal.h"
#include "ipi_destination.h"

/* Bits 11:10 of APIC_BASE. */
enum mode {
	MODE_DISABLED = 0,
	MODE_INVALID = 1,
	MODE_XAPIC = 2,
	MODE_X2APIC = 3,
};

/* APM figure 16-32, SDM 11.12.5: [from][to]. */
static const bool legal_transition[4][4] = {
	[MODE_DISABLED] = { [MODE_DISABLED] = true, [MODE_XAPIC] = true },
	[MODE_XAPIC] = { [MODE_DISABLED] = true, [MODE_XAPIC] = true, [MODE_X2APIC] = true },
	[MODE_X2APIC] = { [MODE_DISABLED] = true, [MODE_X2APIC] = true },
};

static enum mode mode_of(u64 base)
{
	return (enum mode)APIC_BASE_MODE(base);
}

/* What may be done with a register. The x2APIC column is SDM table 11-6 and KVM's kvm_lapic_readable_reg_mask. */
enum access {
	XAPIC_R = 1,
	XAPIC_W = 2,
	X2APIC_R = 4,
	X2APIC_W = 8,
	XAPIC_RW = XAPIC_R | XAPIC_W,
	READ_ONLY = XAPIC_R | X2APIC_R,
	WRITE_ONLY = XAPIC_W | X2APIC_W,
	READ_WRITE = READ_ONLY | WRITE_ONLY,
};

struct rule {
	u32 access;      /* enum access; 0: there is no such register */
	u32 x2apic_zero; /* bits of an x2APIC write that have to be 0, else #GP */
	u32 field;       /* of struct vapic, which a read returns; 0: read_register() has it */
	u32 first;       /* number of the first register of an array, of which `field` is the first word */
};

#define ALL_BITS 0xffffffffu
#define FIELD(name) offsetof(struct vapic, name)
#define WORDS(offset, name) \
	[(offset) >> 4 ... ((offset) >> 4) + APIC_VECTOR_WORDS - 1] = { READ_ONLY, 0, FIELD(name), (offset) >> 4 }

/* By register number: offset >> 4, MSR - 800. */
static const struct rule rules[] = {
	[APIC_ID >> 4] = { XAPIC_RW | X2APIC_R, 0, FIELD(id), APIC_ID >> 4 },
	[APIC_VERSION >> 4] = { READ_ONLY, 0, 0, 0 },
	[APIC_TPR >> 4] = { READ_WRITE, 0, FIELD(tpr), APIC_TPR >> 4 },
	[APIC_APR >> 4] = { XAPIC_R, 0, 0, 0 },
	[APIC_PPR >> 4] = { READ_ONLY, 0, 0, 0 },
	[APIC_EOI >> 4] = { WRITE_ONLY, ALL_BITS, 0, 0 },
	[APIC_REMOTE_READ >> 4] = { XAPIC_R, 0, 0, 0 },
	[APIC_LDR >> 4] = { XAPIC_RW | X2APIC_R, 0, FIELD(ldr), APIC_LDR >> 4 },
	[APIC_DFR >> 4] = { XAPIC_RW, 0, FIELD(dfr), APIC_DFR >> 4 },
	[APIC_SPIV >> 4] = { READ_WRITE, 0, FIELD(spiv), APIC_SPIV >> 4 },
	WORDS(APIC_ISR, isr),
	WORDS(APIC_TMR, tmr),
	WORDS(APIC_IRR, irr),
	[APIC_ESR >> 4] = { READ_WRITE, ALL_BITS, FIELD(esr), APIC_ESR >> 4 },
	/* ICR: its low half here; x2APIC: 64 bits, checked on its own */
	[APIC_ICR >> 4] = { READ_WRITE, 0, FIELD(icr), APIC_ICR >> 4 },
	[APIC_ICR2 >> 4] = { XAPIC_RW, 0, FIELD(icr), APIC_ICR >> 4 },
	[APIC_LVT_TIMER >> 4 ... APIC_LVT_ERROR >> 4] = { READ_WRITE, 0, FIELD(lvt), APIC_LVT_TIMER >> 4 },
	[APIC_TIMER_INITIAL >> 4] = { READ_WRITE, 0, FIELD(timer_initial), APIC_TIMER_INITIAL >> 4 },
	[APIC_TIMER_CURRENT >> 4] = { READ_ONLY, 0, 0, 0 },
	[APIC_TIMER_DIVIDE >> 4] = { READ_WRITE, 0, FIELD(timer_divide), APIC_TIMER_DIVIDE >> 4 },
	[APIC_SELF_IPI >> 4] = { X2APIC_W, ALL_BITS & ~(u32)APIC_ICR_VECTOR, 0, 0 },
};

static struct rule rule_of(u32 number)
{
	if (number >= sizeof(rules) / sizeof(rules[0]))
		return (struct rule){ 0, 0, 0, 0 };
	return rules[number];
}

/* Bits an LVT entry keeps (KVM apic_lvt_mask). */
#define LVT_PLAIN (APIC_LVT_VECTOR | APIC_LVT_SEND_PENDING | APIC_LVT_MASKED)
#define LVT_LINT  (LVT_PLAIN | APIC_LVT_DELIVERY | APIC_LVT_LOW_ACTIVE | APIC_LVT_REMOTE_IRR | APIC_LVT_LEVEL)

static const u32 lvt_writable[APIC_LVT_ENTRIES] = {
	[LVT_TIMER] = LVT_PLAIN | APIC_LVT_TIMER_MODE,
	[LVT_THERMAL] = LVT_PLAIN | APIC_LVT_DELIVERY,
	[LVT_PERFORMANCE] = LVT_PLAIN | APIC_LVT_DELIVERY,
	[LVT_LINT0] = LVT_LINT,
	[LVT_LINT1] = LVT_LINT,
	[LVT_ERROR] = LVT_PLAIN,
};

/* Reads, of registers that the rules let read. Arbitration priority and remote read are 0. */
static u32 read_register(const struct vapic *apic, u32 number, u64 now_ns)
{
	struct rule rule = rule_of(number);

	if (rule.field)
		return *(const a32 *)((const u8 *)apic + rule.field + (number - rule.first) * sizeof(u32));
	switch (number << 4) {
	case APIC_VERSION:
		return APIC_VERSION_NUMBER | (APIC_LVT_ENTRIES - 1) << APIC_VERSION_MAX_LVT_SHIFT;
	case APIC_PPR:
		return vapic_priority(apic);
	case APIC_TIMER_CURRENT:
		return vapic_timer_current(apic, now_ns);
	default:
		return 0;
	}
}

/* Software disable masks the LVT; enabling does not unmask it (APM 16.4.7, SDM 11.4.7.2). */
static void write_spiv(struct vapic *apic, u32 value, struct vapic_effect *effect)
{
	apic->spiv = value & APIC_SPIV_WRITABLE;
	effect->destination_changed = true;
	if (vapic_is_software_enabled(apic))
		return;
	for (u32 i = 0; i < APIC_LVT_ENTRIES; i++)
		apic->lvt[i] |= APIC_LVT_MASKED;
	effect->lint_changed = true;
}

static void write_lvt(struct vapic *apic, u32 reg, u32 value, struct vapic_effect *effect)
{
	enum lvt_index index = (enum lvt_index)((reg - APIC_LVT_TIMER) >> 4);

	value &= lvt_writable[index];
	if (!vapic_is_software_enabled(apic))
		value |= APIC_LVT_MASKED;
	if (index != LVT_TIMER) {
		apic->lvt[index] = value;
		effect->lint_changed = index == LVT_LINT0;
		return;
	}
	if (!apic->config.tsc_deadline)
		value &= ~(u32)APIC_TIMER_TSC_DEADLINE;
	vapic_timer_set_lvt(apic, value);
}

/* xAPIC: the write of the low half sends; the 8-bit destination becomes x2APIC's. */
static void write_xapic_icr(struct vapic *apic, u32 value, struct vapic_effect *effect)
{
	u64 low = value & ~(u32)APIC_ICR_BUSY;
	u64 destination = apic->icr >> (APIC_ICR_DESTINATION_SHIFT + APIC_ID_SHIFT);

	if (destination == APIC_BROADCAST_XAPIC)
		destination = APIC_BROADCAST;
	apic->icr = (apic->icr & ~0xffffffffull) | low;
	vapic_send_ipi(apic, destination << APIC_ICR_DESTINATION_SHIFT | low, effect);
}

static void write_icr2(struct vapic *apic, u32 value)
{
	u64 high = value & (0xffu << APIC_ID_SHIFT);

	apic->icr = high << APIC_ICR_DESTINATION_SHIFT | (u32)apic->icr;
}

static void write_esr(struct vapic *apic)
{
	apic->esr = apic->esr_pending;
	apic->esr_pending = 0;
}

/* Writes, of registers that the rules let write; x2APIC's ICR has its own function. */
static void write_register(struct vapic *apic, u32 reg, u32 value, u64 now_ns, struct vapic_effect *effect)
{
	u64 deadline = vapic_timer_deadline(apic);

	vapic_timer_run(apic, now_ns); /* an expiry before the write that may stop the timer */
	switch (reg) {
	case APIC_ID:
		apic->id = value & (0xffu << APIC_ID_SHIFT);
		effect->destination_changed = true;
		break;
	case APIC_TPR:
		apic->tpr = value & 0xff;
		break;
	case APIC_EOI:
		vapic_end_of_interrupt(apic, effect);
		break;
	case APIC_LDR:
		apic->ldr = value & APIC_LDR_ID;
		effect->destination_changed = true;
		break;
	case APIC_DFR:
		apic->dfr = value | APIC_DFR_ONES;
		effect->destination_changed = true;
		break;
	case APIC_SPIV:
		write_spiv(apic, value, effect);
		break;
	case APIC_ESR:
		write_esr(apic);
		break;
	case APIC_ICR:
		write_xapic_icr(apic, value, effect);
		break;
	case APIC_ICR2:
		write_icr2(apic, value);
		break;
	case APIC_LVT_TIMER ... APIC_LVT_ERROR:
		write_lvt(apic, reg, value, effect);
		break;
	case APIC_TIMER_INITIAL:
		vapic_timer_set_initial(apic, value, now_ns);
		break;
	case APIC_TIMER_DIVIDE:
		vapic_timer_set_divide(apic, value, now_ns);
		break;
	case APIC_SELF_IPI:
		vapic_send_ipi(apic, APIC_SHORTHAND_SELF | value, effect);
		break;
	}
	effect->timer_changed = vapic_timer_deadline(apic) != deadline;
}

enum vapic_result vapic_mmio_read(struct vapic *apic, u32 offset, u32 size, u64 now_ns, u64 *value)
{
	struct rule rule = rule_of(offset >> 4);
	u32 first = offset & 0xf;

	*value = ~0ull;
	if (mode_of(apic->base) != MODE_XAPIC || offset >= APIC_PAGE_SIZE)
		return VAPIC_NOT_CLAIMED;
	*value = 0;
	if (!(rule.access & XAPIC_RW))
		vapic_record_error(apic, APIC_ESR_ILLEGAL_REGISTER);
	if (!(rule.access & XAPIC_R) || (size != 1 && size != 2 && size != 4) || first + size > 4)
		return VAPIC_OK;
	*value = (read_register(apic, offset >> 4, now_ns) >> (8 * first)) & (BIT(8 * size) - 1);
	return VAPIC_OK;
}

enum vapic_result vapic_mmio_write(struct vapic *apic, u32 offset, u32 size, u64 value, u64 now_ns,
				   struct vapic_effect *effect)
{
	struct rule rule = rule_of(offset >> 4);

	*effect = (struct vapic_effect){ 0 };
	if (mode_of(apic->base) != MODE_XAPIC || offset >= APIC_PAGE_SIZE)
		return VAPIC_NOT_CLAIMED;
	if (!(rule.access & XAPIC_RW))
		vapic_record_error(apic, APIC_ESR_ILLEGAL_REGISTER);
	if ((rule.access & XAPIC_W) && size == 4 && !(offset & 0xf))
		write_register(apic, offset, (u32)value, now_ns, effect);
	return VAPIC_OK;
}

enum vapic_result vapic_msr_read(struct vapic *apic, u32 msr, u64 now_ns, u64 *value)
{
	u32 number = msr - MSR_X2APIC_FIRST;

	*value = 0;
	if (mode_of(apic->base) != MODE_X2APIC || !(rule_of(number).access & X2APIC_R))
		return VAPIC_GP;
	*value = number << 4 == APIC_ICR ? apic->icr : read_register(apic, number, now_ns);
	return VAPIC_OK;
}

static enum vapic_result write_x2apic_icr(struct vapic *apic, u64 value, struct vapic_effect *effect)
{
	if (value & APIC_ICR_X2_RESERVED)
		return VAPIC_GP;
	apic->icr = value & ~APIC_ICR_BUSY;
	vapic_send_ipi(apic, apic->icr, effect);
	return VAPIC_OK;
}

enum vapic_result vapic_msr_write(struct vapic *apic, u32 msr, u64 value, u64 now_ns, struct vapic_effect *effect)
{
	u32 number = msr - MSR_X2APIC_FIRST;
	struct rule rule = rule_of(number);

	*effect = (struct vapic_effect){ 0 };
	if (mode_of(apic->base) != MODE_X2APIC || !(rule.access & X2APIC_W))
		return VAPIC_GP;
	if (number << 4 == APIC_ICR)
		return write_x2apic_icr(apic, value, effect);
	if (value >> 32 || value & rule.x2apic_zero)
		return VAPIC_GP;
	write_register(apic, number << 4, (u32)value, now_ns, effect);
	return VAPIC_OK;
}

static u64 reserved_base_bits(const struct vapic_config *config)
{
	u32 width = config->phys_bits < 52 ? config->phys_bits : 52;
	u64 reserved = APIC_BASE_RESERVED | ~(BIT(width) - 1);

	return config->x2apic ? reserved : reserved | APIC_BASE_EXTD;
}

enum vapic_result vapic_write_base(struct vapic *apic, u64 value, struct vapic_effect *effect)
{
	enum mode from = mode_of(apic->base);
	enum mode to = mode_of(value);

	*effect = (struct vapic_effect){ 0 };
	if (value == apic->base)
		return VAPIC_OK;
	if (value & reserved_base_bits(&apic->config) || !legal_transition[from][to])
		return VAPIC_GP;
	apic->base = value;
	effect->base_changed = true;
	if (from == to)
		return VAPIC_OK;
	effect->destination_changed = true;
	effect->lint_changed = true;
	if (to == MODE_XAPIC)
		apic->id = apic->config.apic_id << APIC_ID_SHIFT;
	if (to == MODE_X2APIC) {
		apic->id = apic->config.apic_id;
		apic->ldr = x2apic_ldr(apic->id);
	}
	return VAPIC_OK;
}

void vapic_force_x2apic(struct vapic *apic)
{
	apic->base |= APIC_BASE_EN | APIC_BASE_EXTD;
	apic->id = apic->config.apic_id;
	apic->ldr = x2apic_ldr(apic->id);
}

void vapic_init(struct vapic *apic)
{
	struct vapic fresh = {
		.config = apic->config,
		.base = apic->base,
		.id = apic->id,
		.ldr = vapic_is_x2apic(apic) ? apic->ldr : 0,
		.dfr = APIC_RESET_DFR,
		.spiv = APIC_RESET_SPIV,
		.timer_expires_ns = VAPIC_NEVER,
	};

	for (u32 i = 0; i < APIC_LVT_ENTRIES; i++)
		fresh.lvt[i] = APIC_RESET_LVT;
	if (apic->config.bsp)
		fresh.lvt[LVT_LINT0] = APIC_RESET_LINT0_BSP;
	*apic = fresh;
}

void vapic_reset(struct vapic *apic, const struct vapic_config *config)
{
	apic->config = *config;
	apic->base = APIC_DEFAULT_BASE | APIC_BASE_EN | (config->bsp ? APIC_BASE_BSP : 0);
	apic->id = config->apic_id << APIC_ID_SHIFT;
	apic->ldr = 0;
	vapic_init(apic);
}

u64 vapic_base(const struct vapic *apic)
{
	return apic->base;
}

u32 vapic_ldr(const struct vapic *apic)
{
	return apic->ldr;
}

u32 vapic_dfr(const struct vapic *apic)
{
	return apic->dfr;
}
