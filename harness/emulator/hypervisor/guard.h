/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Registers of QEMU's devices that would reach the emulator: its processor, its memory or its log (docs/log.md lists
 * them). Writes that would are not passed on; the first ones of each sort are recorded.
 */
#ifndef SNP_GUARD_H
#define SNP_GUARD_H

#include "vcpu.h"

#define PORT_A20         0x92u
#define PORT_RESET       0xCF9u
#define PORT_APM         0xB2u
#define PORT_PM1_CONTROL 0x604u /* PMBASE + 4; pci.c keeps PMBASE at 600h */
#define PORT_SMI_ENABLE  0x630u
#define PORT_TCO         0x660u
#define PORT_PCI_EJECT   0xCC8u /* QEMU's docs/specs/acpi_pci_hotplug.rst, B0EJ */
#define PORT_CPU_FLAGS   0xCDCu /* QEMU's docs/specs/acpi_cpu_hotplug.rst, CPU device control fields */

u32 guard_pass(struct vcpu *vcpu, u16 port, u32 size); /* a read as it is */
void guard_drop(struct vcpu *vcpu, u16 port, u32 size, u32 value);
void guard_a20(struct vcpu *vcpu, u16 port, u32 size, u32 value);
void guard_reset(struct vcpu *vcpu, u16 port, u32 size, u32 value); /* ports before CF9, too: a write may reach it */
void guard_apm(struct vcpu *vcpu, u16 port, u32 size, u32 value);
void guard_pm1_control(struct vcpu *vcpu, u16 port, u32 size, u32 value);
void guard_smi_enable(struct vcpu *vcpu, u16 port, u32 size, u32 value);
void guard_cpu_flags(struct vcpu *vcpu, u16 port, u32 size, u32 value);

/* The HPET's page (IA-PC HPET specification 1.0a). */
bool guard_owns_hpet(u64 gpa);
/* False: the write is not passed on. */
bool guard_hpet_write(struct vcpu *vcpu, u64 gpa, u32 size, u64 *value);

/* QEMU's own APIC is the emulator's processor's. `number`: of the register. False: the write is not passed on. */
bool guard_apic_write(struct vcpu *vcpu, u64 address, u64 number, u64 value);

/* Record a write that was not passed on as it was. */
void guard_refused(struct vcpu *vcpu, enum record_refused what, u64 address, u32 size, u64 value);

#endif
