/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The I/O APIC's registers (82093AA data sheet, 3.2), where QEMU has it. */
#ifndef SNP_IOAPIC_REGISTERS_H
#define SNP_IOAPIC_REGISTERS_H

#define IOAPIC_BASE   0xFEC00000ull
#define IOAPIC_INDEX  0x00
#define IOAPIC_WINDOW 0x10
#define IOAPIC_ENTRY  0x10 /* index of the first entry's low half; the high one follows */

/* Low half of a redirection table entry; the destination is in bits 31:24 of the high one. */
#define IOAPIC_ENTRY_VECTOR      0xFFu
#define IOAPIC_ENTRY_DESTINATION 0xF00u /* delivery mode 10:8, destination mode 11 */
#define IOAPIC_ENTRY_REMOTE_IRR  0x4000u
#define IOAPIC_ENTRY_LEVEL       0x8000u
#define IOAPIC_ENTRY_MASKED      0x10000u
#define IOAPIC_DESTINATION_SHIFT 24

#endif
