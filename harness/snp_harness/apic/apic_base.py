# SPDX-License-Identifier: GPL-2.0-or-later
"""APIC_BASE (MSR 1B): the modes of a local APIC and the transitions between them.

Source: AMD APM volume 2, section 16.9 (table 16-5: modes, figure 16-32: state diagram) and Intel SDM volume 3,
section "x2APIC State Transitions"; the same matrix is enforced by KVM (arch/x86/kvm/lapic.c, kvm_apic_set_base).
"""

from __future__ import annotations

import enum

#: MSR number of APIC_BASE (APM volume 2, section 16.3.1).
MSR_APIC_BASE = 0x1B

#: APIC_BASE bit 8 (BSC in the APM, BSP in the SDM): this vCPU is the boot processor.
BSP = 1 << 8
#: APIC_BASE bit 10 (EXTD): x2APIC mode.
EXTD = 1 << 10
#: APIC_BASE bit 11 (AE in the APM, EN in the SDM): the local APIC is enabled.
EN = 1 << 11

#: Guest physical address of the xAPIC page after reset.
APIC_PAGE = 0xFEE00000
#: Bytes of the xAPIC page.
APIC_PAGE_SIZE = 0x1000
#: APIC_BASE of a guest's boot processor after reset, as KVM and QEMU set it. INIT keeps the mode (APM 16.10).
RESET_VALUE = APIC_PAGE | EN | BSP


class ApicMode(enum.Enum):
    """The mode that EN and EXTD of APIC_BASE select. INVALID (EXTD without EN) is refused whenever it is written."""

    DISABLED = "disabled"
    XAPIC = "xAPIC"
    X2APIC = "x2APIC"
    INVALID = "invalid"


#: Transitions a processor accepts; every other one raises #GP. Keeping the mode is accepted (it may change other bits).
LEGAL_TRANSITIONS: frozenset[tuple[ApicMode, ApicMode]] = frozenset(
    {
        (ApicMode.DISABLED, ApicMode.DISABLED),
        (ApicMode.DISABLED, ApicMode.XAPIC),
        (ApicMode.XAPIC, ApicMode.DISABLED),
        (ApicMode.XAPIC, ApicMode.XAPIC),
        (ApicMode.XAPIC, ApicMode.X2APIC),
        (ApicMode.X2APIC, ApicMode.DISABLED),
        (ApicMode.X2APIC, ApicMode.X2APIC),
    }
)


def mode_of(apic_base: int) -> ApicMode:
    """Return the mode that a value of APIC_BASE selects."""
    if apic_base & EN:
        return ApicMode.X2APIC if apic_base & EXTD else ApicMode.XAPIC
    return ApicMode.INVALID if apic_base & EXTD else ApicMode.DISABLED


def is_legal(before: ApicMode, after: ApicMode) -> bool:
    """Return whether a processor in mode `before` accepts a write of APIC_BASE that selects mode `after`."""
    return (before, after) in LEGAL_TRANSITIONS
