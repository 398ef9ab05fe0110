/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ports: Intel ICH9 data sheet (316972), and QEMU's hw/isa/lpc_ich9.c, hw/acpi/ich9.c, hw/isa/port92.c. */
#include "guard.h"
#include "apic.h"
#include "hpet_registers.h"
#include "x86.h"

#define RECORDS_OF_A_SORT 16 /* the others are alike */

#define RESET_CPU BIT(2) /* port CF9, ICH9 13.7.5 */

#define A20_ON 0x02u /* off, bit 20 of every physical address is 0: the emulator's, too */

/* Port B2: these two switch ACPI mode; every other value raises an SMI. */
#define APM_ACPI_ENABLE  2u
#define APM_ACPI_DISABLE 3u

/* ICH9 13.8.3.10: SMI_EN. QEMU's timers and TCO interrupt its first processor, whatever runs there. */
#define SMI_PERIODIC BIT(14)
#define SMI_TCO      BIT(13)
#define SMI_SOFTWARE BIT(6)
#define SMI_SOURCES  (u32)(SMI_PERIODIC | SMI_TCO | SMI_SOFTWARE)

/* ACPI 6.5, 4.8.3.2.1: PM1 control. QEMU's sleep types: 0 is soft off, 1 is S3, 2 is S4, which is off as well. */
#define PM1_SLEEP_ENABLE BIT(13)
#define PM1_SLEEP_TYPE(value) ((value) >> 10 & 7)
#define PM1_TYPE_S3 1u
#define PM1_TYPE_S4 2u
#define PM1_ABSENT  0xFFFFu /* what is read while the LPC bridge does not decode PMBASE */

#define CPU_EJECT 0x08u

void guard_refused(struct vcpu *vcpu, enum record_refused what, u64 address, u32 size, u64 value)
{
	u8 *count = &vcpu->hv->refused[what];

	if (*count == RECORDS_OF_A_SORT)
		return;
	++*count;
	hw_log(vcpu->cpu, (struct record){ .kind = RECORD_REFUSED, .rip = hw_observe_pc(vcpu->cpu), .address = address,
					 .value = value, .size = (u8)size, .flags = RECORD_WRITE, .aux = what });
}

u32 guard_pass(struct vcpu *vcpu, u16 port, u32 size)
{
	(void)vcpu;
	return port_read(port, size);
}

void guard_drop(struct vcpu *vcpu, u16 port, u32 size, u32 value) { guard_refused(vcpu, RECORD_REFUSED_PORT, port, size, value); }

void guard_a20(struct vcpu *vcpu, u16 port, u32 size, u32 value)
{
	if (size != 1 || port != PORT_A20 || !(value & A20_ON))
		guard_refused(vcpu, RECORD_REFUSED_A20, port, size, value);
	if (size == 1 && port == PORT_A20)
		port_write(port, size, value | A20_ON);
}

/*
 * SNP guests cannot be reset: their registers are measured. QEMU ends ("cpus are not resettable, terminating"), and so
 * does the run; here the account of the log would end with QEMU.
 */
void guard_reset(struct vcpu *vcpu, u16 port, u32 size, u32 value)
{
	u32 at = PORT_RESET - port;

	if (at < size && (value >> 8 * at & RESET_CPU))
		hw_stop(vcpu->cpu, RECORD_END_RESET, value, port);
	port_write(port, size, value);
}

void guard_apm(struct vcpu *vcpu, u16 port, u32 size, u32 value)
{
	if (port != PORT_APM || (u8)value == APM_ACPI_ENABLE || (u8)value == APM_ACPI_DISABLE)
		port_write(port, 1, value);
	else
		guard_refused(vcpu, RECORD_REFUSED_SMI, port, size, value);
}

void guard_pm1_control(struct vcpu *vcpu, u16 port, u32 size, u32 value)
{
	u32 written = (u32)((u64)value << 8 * (port - PORT_PM1_CONTROL));

	if (port < PORT_PM1_CONTROL) { /* the device ignores it */
		guard_drop(vcpu, port, size, value);
		return;
	}
	if ((written & PM1_SLEEP_ENABLE) && PM1_SLEEP_TYPE(written) <= PM1_TYPE_S4 && port_read(PORT_PM1_CONTROL, 2) != PM1_ABSENT)
		hw_stop(vcpu->cpu, PM1_SLEEP_TYPE(written) == PM1_TYPE_S3 ? RECORD_END_SUSPEND : RECORD_END_POWER_OFF, value, port);
	port_write(port, size, value);
}

void guard_smi_enable(struct vcpu *vcpu, u16 port, u32 size, u32 value)
{
	if (port != PORT_SMI_ENABLE || size != 4 || (value & SMI_SOURCES))
		guard_refused(vcpu, RECORD_REFUSED_SMI, port, size, value);
	if (port == PORT_SMI_ENABLE && size == 4)
		port_write(port, size, value & ~SMI_SOURCES);
}

void guard_cpu_flags(struct vcpu *vcpu, u16 port, u32 size, u32 value)
{
	if (port != PORT_CPU_FLAGS || (value & CPU_EJECT))
		guard_refused(vcpu, RECORD_REFUSED_EJECT, port, size, value);
	else
		port_write(port, size, value);
}

/*
 * INIT would start the emulator again, SMI run the guest's memory outside nested paging. SIPI has no effect on a processor
 * that runs, and an IPI for all others reaches none: with QEMU's APIC there is one. A write to register 0 is an MSI to QEMU.
 */
bool guard_apic_write(struct vcpu *vcpu, u64 address, u64 number, u64 value)
{
	u32 mode = (u32)(value & APIC_LVT_DELIVERY) >> APIC_LVT_DELIVERY_SHIFT;
	bool sends = number == APIC_ICR >> 4 ? (value & APIC_ICR_SHORTHAND) != APIC_SHORTHAND_OTHERS
					     : number >= APIC_LVT_TIMER >> 4 && number <= APIC_LVT_ERROR >> 4;

	if (number && !(sends && (mode == APIC_DELIVER_INIT || mode == APIC_DELIVER_SMI)))
		return true;
	guard_refused(vcpu, RECORD_REFUSED_SMI, address, 4, value);
	return false;
}

bool guard_owns_hpet(u64 gpa) { return (gpa & ~(PAGE_SIZE - 1)) == HPET_BASE; }

/* An FSB message is a write of 32 chosen bits to any address below 4 GiB: to RAM, or an INIT for any processor. */
bool guard_hpet_write(struct vcpu *vcpu, u64 gpa, u32 size, u64 *value)
{
	u32 offset = gpa & (PAGE_SIZE - 1);

	if ((size != 4 && size != 8) || offset % size) /* the device ignores it */
		return false;
	if (offset < HPET_TIMERS || offset % HPET_TIMER_SIZE || !(*value & HPET_FSB_ENABLE))
		return true;
	guard_refused(vcpu, RECORD_REFUSED_MESSAGE, gpa, size, *value);
	*value &= ~HPET_FSB_ENABLE;
	return true;
}
