/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Interrupts of devices for other vCPUs than the boot vCPU. */
#include "smp.h"
#include "apic_access.h"
#include "edu.h"
#include "hpet.h"

/* The second interrupt of a level-triggered entry requires the device's status to be cleared and an EOI. */
static void device_interrupt(u32 mode)
{
	for (u64 round = 0; round < 2; round++) {
		prepare();
		hpet_route_to(last_ap(), VECTOR | mode);
		EQUAL(hpet_destination(), last_ap());
		all_do(take_interrupts);
		hpet_after_1_ms(HPET_ENABLE | (mode ? HPET_LEVEL : 0));
		CHECK(wait_until(&takers[VECTOR], BIT(last_ap()), PATIENCE_MS));
		hpet_served();
		CHECK(all_done());
		hpet_off();
		EQUAL(takers[VECTOR], BIT(last_ap()));
	}
}

SMP_TEST(smp_a_device_interrupts_the_ap_it_is_for, ALL)
{
	CHECK(ap_start_all());
	device_interrupt(0);
	device_interrupt(IOAPIC_ENTRY_LEVEL);
}

static bool message_reaches(u32 destination, bool logical, u64 reached)
{
	bool done;

	prepare();
	all_do(take_interrupts);
	edu_begin_message(destination, logical, VECTOR);
	done = wait_until(&takers[VECTOR], reached, PATIENCE_MS);
	return all_done() && done && takers[VECTOR] == reached;
}

SMP_TEST(smp_a_message_reaches_the_vcpu_it_is_for, ALL)
{
	CHECK(ap_start_all());
	edu_setup();
	CHECK(message_reaches((u32)last_ap(), false, BIT(last_ap())));
	CHECK(message_reaches(6, true, 6)); /* x2APIC: vCPUs 1 and 2 of cluster 0 */
}

/* Each vCPU has vectors of its own: an entry of the I/O APIC with the same one for another vCPU changes nothing. */
SMP_TEST(smp_a_message_is_not_an_ioapic_entry, ALL)
{
	CHECK(ap_start_all());
	edu_setup();
	prepare();
	hpet_route_to(last_ap(), VECTOR);
	edu_begin_message(0, false, VECTOR);
	sti();
	CHECK(wait_until(&takers[VECTOR], 1, PATIENCE_MS));
	cli();
	apic_write(APIC_EOI, 0);
	hpet_off();
	EQUAL(takers[VECTOR], 1);
}

static bool message(u32 destination, u32 mode)
{
	edu_begin_message(destination, false, mode << APIC_LVT_DELIVERY_SHIFT | VECTOR);
	while (!edu_is_done())
		pause();
	return true;
}

#define SCRATCH      0x3FF /* of COM1 */
#define EXECUTED     0xA5
#define REAL_MODE    0x7000
#define SMI_HANDLER  0x38000
#define NMI_OF_REAL_MODE 0x8 /* its vector */

/* Where a processor that is not the guest's would execute after INIT, or at an SMI. */
static void plant(void)
{
	static const u8 code[] = { 0xBA, 0xFF, 0x03, 0xB0, EXECUTED, 0xEE, 0xF4, 0xEB, 0xFD }; /* OUT to SCRATCH, HLT for ever */

	for (u32 i = 0; i < sizeof(code); i++) {
		((volatile u8 *)REAL_MODE)[i] = code[i];
		((volatile u8 *)SMI_HANDLER)[i] = code[i];
	}
	*(volatile a32 *)NMI_OF_REAL_MODE = REAL_MODE;
	io_out(SCRATCH, 1, 0);
}

/* QEMU's processors hold nothing of the guest: what stops or starts one of them changes no vCPU. */
SMP_TEST(smp_messages_to_processors, ALL)
{
	CHECK(ap_start_all());
	edu_setup();
	if (!sev())
		plant();
	message(2, APIC_DELIVER_SMI);
	CHECK(message_reaches(2, false, 4));
	for (u32 i = 0; i < 2; i++) {
		message((u32)last_ap(), APIC_DELIVER_INIT);
		message((u32)last_ap(), APIC_DELIVER_SMI);
		message((u32)last_ap(), APIC_DELIVER_NMI);
		message((u32)last_ap(), APIC_DELIVER_STARTUP);
	}
	CHECK(message_reaches(1, false, 2));
	if (!sev())
		EQUAL(io_in(SCRATCH, 1), 0);
}
