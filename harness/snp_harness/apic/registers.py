# SPDX-License-Identifier: GPL-2.0-or-later
"""The local APIC's registers: one table of offsets, MSR numbers, names, access and who serves them.

Sources: offsets and names: AMD APM volume 2, table 16-2; access in xAPIC mode: the figures of sections 16.3 to 16.7;
x2APIC MSR numbers and access: APM volume 2, table 16-6; the SVSM's part: SVSM APIC protocol as COCONUT-SVSM implements
it (kernel/src/cpu/apic.rs). The registers at 400 and above exist when the APIC version register's bit 31
(extended register space) is set.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from snp_harness.apic.apic_base import MSR_APIC_BASE

#: Directions in which an access is defined: reads, writes, both or none.
Directions = Literal["", "r", "w", "rw"]

#: First MSR of the x2APIC range; MSR = X2APIC_MSR_FIRST + (offset >> 4) (APM volume 2, section 16.11.1).
X2APIC_MSR_FIRST = 0x800
#: Last MSR of the x2APIC range.
X2APIC_MSR_LAST = 0x8FF
#: Distance of the registers in the xAPIC page, bytes.
REGISTER_STRIDE = 0x10
#: Width of a register in the xAPIC page, bytes; the rest of the stride is undefined.
REGISTER_WIDTH = 4
_PAGE_LAST = 0xFFF


@dataclass(frozen=True, slots=True)
class Register:
    """One register of the local APIC, or APIC_BASE.

    name: short name for reports. title: the specification's name.
    offset: byte offset in the xAPIC page, None when the register is not there.
    msr: x2APIC MSR number, None when the register has none.
    xapic, x2apic: the directions defined in either mode. svsm: the directions that the SVSM APIC protocol handles;
    the hypervisor handles the others. reserved: the number is not assigned to a register.
    """

    name: str
    offset: int | None
    msr: int | None
    xapic: Directions = ""
    x2apic: Directions = ""
    svsm: Directions = ""
    title: str = ""
    reserved: bool = False


def _bank(
    name: str, title: str, offset: int, access: Directions, svsm: Directions, count: int = 8
) -> Iterator[Register]:
    """One register of `count` for each 32 vectors, from `offset` on, the same access in both modes."""
    for number in range(count):
        at = offset + number * REGISTER_STRIDE
        msr = X2APIC_MSR_FIRST + (at >> 4)
        yield Register(f"{name}{number}", at, msr, access, access, svsm, f"{title} {number}")


#: APIC_BASE: the mode control, not a register of the APIC page (APM volume 2, section 16.3.1).
APIC_BASE = Register("APIC_BASE", None, MSR_APIC_BASE, "", "rw", "", "APIC Base Address Register")

#: Every register, in the order of offsets; columns: name, offset, MSR, xAPIC, x2APIC, SVSM, the specification's name.
REGISTERS: tuple[Register, ...] = (
    APIC_BASE,
    Register("APIC ID", 0x020, 0x802, "rw", "r", "r", "APIC ID Register"),
    Register("Version", 0x030, 0x803, "r", "r", "", "APIC Version Register"),
    Register("TPR", 0x080, 0x808, "rw", "rw", "rw", "Task Priority Register"),
    Register("APR", 0x090, 0x809, "r", "r", "", "Arbitration Priority Register"),
    Register("PPR", 0x0A0, 0x80A, "r", "r", "r", "Processor Priority Register"),
    Register("EOI", 0x0B0, 0x80B, "w", "w", "w", "End of Interrupt Register"),
    Register("RRR", 0x0C0, None, "r", "", "", "Remote Read Register"),
    Register("LDR", 0x0D0, 0x80D, "rw", "r", "r", "Logical Destination Register"),
    Register("DFR", 0x0E0, None, "rw", "", "", "Destination Format Register"),
    Register("SVR", 0x0F0, 0x80F, "rw", "rw", "", "Spurious Interrupt Vector Register"),
    *_bank("ISR", "In-Service Register", 0x100, "r", "r"),
    *_bank("TMR", "Trigger Mode Register", 0x180, "r", "r"),
    *_bank("IRR", "Interrupt Request Register", 0x200, "r", "r"),
    Register("ESR", 0x280, 0x828, "rw", "rw", "", "Error Status Register"),
    Register("ICR", 0x300, 0x830, "rw", "rw", "rw", "Interrupt Command Register (low half in xAPIC mode)"),
    Register("ICR high", 0x310, None, "rw", "", "", "Interrupt Command Register High (bits 63:32)"),
    Register("Timer LVT", 0x320, 0x832, "rw", "rw", "", "Timer Local Vector Table Entry"),
    Register("Thermal LVT", 0x330, 0x833, "rw", "rw", "", "Thermal Local Vector Table Entry"),
    Register("Performance LVT", 0x340, 0x834, "rw", "rw", "", "Performance Counter Local Vector Table Entry"),
    Register("LINT0 LVT", 0x350, 0x835, "rw", "rw", "", "Local Interrupt 0 Vector Table Entry"),
    Register("LINT1 LVT", 0x360, 0x836, "rw", "rw", "", "Local Interrupt 1 Vector Table Entry"),
    Register("Error LVT", 0x370, 0x837, "rw", "rw", "", "Error Vector Table Entry"),
    Register("Timer Initial Count", 0x380, 0x838, "rw", "rw", "", "Timer Initial Count Register"),
    Register("Timer Current Count", 0x390, 0x839, "r", "r", "", "Timer Current Count Register"),
    Register("Timer Divide", 0x3E0, 0x83E, "rw", "rw", "", "Timer Divide Configuration Register"),
    Register("SELF_IPI", None, 0x83F, "", "w", "w", "Self IPI Register"),
    Register("Extended Feature", 0x400, 0x840, "r", "r", "", "Extended APIC Feature Register"),
    Register("Extended Control", 0x410, 0x841, "rw", "rw", "", "Extended APIC Control Register"),
    Register("SEOI", 0x420, 0x842, "rw", "rw", "", "Specific End of Interrupt Register"),
    *_bank("IER", "Interrupt Enable Register", 0x480, "rw", ""),
    *_bank("Extended LVT", "Extended Interrupt Local Vector Table Entry", 0x500, "rw", "", count=4),
)

_BY_OFFSET = {register.offset: register for register in REGISTERS if register.offset is not None}
_BY_MSR = {register.msr: register for register in REGISTERS if register.msr is not None}
_BY_NAME = {register.name: register for register in REGISTERS}
#: Registers that other modules refer to: the end of a tick, and DXE's first use of the timer.
EOI = _BY_NAME["EOI"]
TIMER_DIVIDE = _BY_NAME["Timer Divide"]


def by_offset(offset: int) -> Register:
    """Return the register at a byte offset of the xAPIC page.

    Returns the register for each offset into its four bytes, and a reserved one for all others. Never raises.
    """
    aligned = offset & ~(REGISTER_STRIDE - 1)
    if offset - aligned < REGISTER_WIDTH and aligned in _BY_OFFSET:
        return _BY_OFFSET[aligned]
    msr = None
    if offset == aligned and 0 <= offset <= _PAGE_LAST:
        # An unassigned number is the same register as offset and as MSR, so that witnesses can be compared.
        twin = X2APIC_MSR_FIRST + (offset >> 4)
        msr = None if twin in _BY_MSR else twin
    return Register(f"reserved {offset:03X}", offset, msr, reserved=True)


def by_msr(msr: int) -> Register:
    """Return the register of an MSR number: APIC_BASE, an x2APIC register or a reserved one. Never raises."""
    if msr in _BY_MSR:
        return _BY_MSR[msr]
    if X2APIC_MSR_FIRST <= msr <= X2APIC_MSR_LAST:
        offset = (msr - X2APIC_MSR_FIRST) << 4
        if offset not in _BY_OFFSET:
            return Register(f"reserved {offset:03X}", offset, msr, reserved=True)
    return Register(f"reserved MSR {msr:X}", None, msr, reserved=True)
