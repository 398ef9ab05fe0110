# SPDX-License-Identifier: GPL-2.0-or-later
"""What SEC of every stock OVMF does to the local APIC (edk2 OvmfPkg/Sec/SecMain.c, InitializeApicTimer)."""

from __future__ import annotations

from snp_harness.apic.access import Access, Operation, Phase
from snp_harness.apic.timeline import Timeline


def sec_accesses(timeline: Timeline) -> list[Access]:
    """Register accesses until SEC's end."""
    return [access for access in timeline.accesses if not access.is_base and access.phase <= Phase.SEC]


def told(accesses: list[Access]) -> list[tuple[Operation, int | None, int | None]]:
    """Operation, offset and value of each."""
    return [(access.operation, access.register.offset, access.value) for access in accesses]
