/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which values the SVSM's registers accept, and what they read afterwards (COCONUT kernel/src/cpu/apic.rs). */
#include "groups.h"
#include "apic_access.h"
#include "cpu.h"
#include "io.h"
#include "platform.h"
#include "svsm_apic.h"
#include "trap.h"

#define VECTOR 0x61

static u64 icr(u64 flags) { return APIC_SHORTHAND_SELF | VECTOR | flags; }

/* What was sent by mistake arrives before the next point. */
static void refused(u64 msr, u64 value)
{
	if (!EQUAL_OF(value, write_register(msr, value), SVSM_ERR_INVALID_PARAMETER))
		let_pass();
}

static void tpr_8_bits(void)
{
	write_register(X2(APIC_TPR), 0x30);
	for (u32 bit = 8; bit < 64; bit++)
		refused(X2(APIC_TPR), BIT(bit) | 0x50);
	EQUAL(read_register(X2(APIC_TPR)), 0x30);
	EQUAL(read_cr8(), 3);
}

/* The VMSA keeps the class only (APM vol. 2, table B-4, V_TPR 3:0). */
static void tpr_reads_back(void)
{
	for (u64 value = 0; value < 0x100; value += 0x11) {
		EQUAL_OF(value, write_register(X2(APIC_TPR), value), SVSM_SUCCESS);
		EQUAL_OF(value, read_register(X2(APIC_TPR)) & ~0xFull, value & APIC_PRIORITY_CLASS);
	}
}

static void tpr_is_cr8(void)
{
	for (u64 priority = 0; priority < 16; priority++) {
		write_register(X2(APIC_TPR), priority << 4);
		EQUAL_OF(priority, read_cr8(), priority);
		write_cr8(15 - priority);
		EQUAL_OF(priority, read_register(X2(APIC_TPR)), (15 - priority) << 4);
	}
	write_cr8(0);
}

static void ppr_is_tpr(void)
{
	for (u64 value = 0; value < 0x100; value += 0x10) {
		write_register(X2(APIC_TPR), value);
		EQUAL_OF(value, read_register(X2(APIC_PPR)), value);
	}
}

static void eoi_zero_only(void)
{
	for (u32 bit = 0; bit < 64; bit++)
		refused(X2(APIC_EOI), BIT(bit));
	EQUAL(write_register(X2(APIC_EOI), 0), SVSM_SUCCESS);
}

static void icr_reserved(void)
{
	for (u32 bit = 0; bit < 32; bit++) {
		if (BIT(bit) & (APIC_ICR_X2_RESERVED | APIC_ICR_BUSY))
			refused(X2(APIC_ICR), icr(BIT(bit)));
	}
	EQUAL(in_irr(VECTOR), 0);
}

static void icr_delivery(u64 mode)
{
	refused(X2(APIC_ICR), icr(mode << APIC_ICR_DELIVERY_SHIFT));
	EQUAL(in_irr(VECTOR), 0);
	let_pass();
	EQUAL(interrupts[VECTOR], 0);
}

/* No APIC has these destinations. The value is kept, and a refused one does not replace it. */
static void icr_reads_back(void)
{
	static const u64 values[] = { 0x0000BEEF00000031, 0x0000BEEF00004032, 0x000BBEEF00000833, 0x0000BEEF00000434 };

	for (u32 i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		EQUAL_OF(values[i], write_register(X2(APIC_ICR), values[i]), SVSM_SUCCESS);
		EQUAL_OF(values[i], read_register(X2(APIC_ICR)), values[i]);
	}
	refused(X2(APIC_ICR), icr(APIC_ICR_BUSY));
	EQUAL(read_register(X2(APIC_ICR)), values[3]);
}

/* The bits that an IPI does not use. It arrives whatever they are. */
static void icr_ignored(u64 bits)
{
	for (u32 bit = 0; bit < 64; bit++) {
		u64 before = interrupts[VECTOR];

		if (!(bits & BIT(bit)))
			continue;
		EQUAL_OF(bit, write_register(X2(APIC_ICR), icr(BIT(bit))), SVSM_SUCCESS);
		if (!EQUAL_OF(bit, comes(&interrupts[VECTOR], before + 1), true))
			return;
		EQUAL_OF(bit, read_register(X2(APIC_ICR)), icr(BIT(bit)));
	}
}

static void self_ipi_8_bits(void)
{
	for (u32 bit = 8; bit < 64; bit++)
		refused(X2(APIC_SELF_IPI), BIT(bit) | VECTOR);
	EQUAL(in_irr(VECTOR), 0);
}

static void id_is_the_hypervisors(void)
{
	u64 id = ~0ull;

	CHECK(apic_set_mode(MODE_BITS));
	CHECK(msr_in(X2(APIC_ID), &id));
	EQUAL(read_register(X2(APIC_ID)), id);
}

/* SDM vol. 3A, 11.12.10.2: the logical ID follows from the ID. */
static void ldr_of_id(void)
{
	u64 id = read_register(X2(APIC_ID));

	EQUAL(read_register(X2(APIC_LDR)), (id & ~0xFull) << 12 | BIT(id & 0xF));
}

static const struct point points[] = {
	{ "values/tpr-has-8-bits", NEED_PROTOCOL, .run = tpr_8_bits },
	{ "values/tpr-reads-back", NEED_PROTOCOL, .run = tpr_reads_back },
	{ "values/tpr-is-cr8", NEED_PROTOCOL, .run = tpr_is_cr8 },
	{ "values/ppr-is-tpr-with-nothing-in-service", NEED_PROTOCOL, .run = ppr_is_tpr },
	{ "values/eoi-takes-zero-only", NEED_PROTOCOL, .run = eoi_zero_only },
	{ "values/icr-reserved-bits-refused", NEED_PROTOCOL, .run = icr_reserved },
	{ "values/icr-lowest-priority-refused", NEED_PROTOCOL, .run_with = icr_delivery, APIC_DELIVER_LOWEST },
	{ "values/icr-smi-refused", NEED_PROTOCOL, .run_with = icr_delivery, APIC_DELIVER_SMI },
	{ "values/icr-remote-read-refused", NEED_PROTOCOL, .run_with = icr_delivery, APIC_DELIVER_REMOTE_READ },
	{ "values/icr-init-refused", NEED_PROTOCOL, .run_with = icr_delivery, APIC_DELIVER_INIT },
	{ "values/icr-startup-refused", NEED_PROTOCOL, .run_with = icr_delivery, APIC_DELIVER_STARTUP },
	{ "values/icr-extint-refused", NEED_PROTOCOL, .run_with = icr_delivery, APIC_DELIVER_EXTINT },
	{ "values/icr-level-and-trigger-ignored", NEED_PROTOCOL, .run_with = icr_ignored, APIC_ICR_ASSERT | APIC_ICR_LEVEL },
	{ "values/icr-destination-ignored-with-shorthand", NEED_PROTOCOL, .run_with = icr_ignored,
	  APIC_ICR_LOGICAL | (u64)APIC_BROADCAST << APIC_ICR_DESTINATION_SHIFT },
	{ "values/icr-reads-back", NEED_PROTOCOL, .run = icr_reads_back },
	{ "values/self-ipi-has-8-bits", NEED_PROTOCOL, .run = self_ipi_8_bits },
	{ "values/id-is-the-hypervisors", NEED_PROTOCOL | NEED_X2APIC, .run = id_is_the_hypervisors },
	{ "values/ldr-follows-from-id", NEED_PROTOCOL, .run = ldr_of_id },
};

GROUP(values_group, points, svsm_apic_prepare);
