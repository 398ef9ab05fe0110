# SPDX-License-Identifier: GPL-2.0-or-later
"""Accesses and timelines as the witnesses make them: stock OVMF's SEC (measured) and building blocks."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from snp_harness.apic.access import Access, Operation, Outcome, Path, Phase, Server
from snp_harness.apic.apic_base import ApicMode
from snp_harness.apic.registers import APIC_BASE, Register, by_msr, by_offset
from snp_harness.apic.timeline import Event, Known, PhaseMark, Timeline

READ, WRITE = Operation.READ, Operation.WRITE

#: What SEC of every stock OVMF does to the local APIC (edk2 OvmfPkg/Sec/SecMain.c, InitializeApicTimer; the same on
#: 2022.11, 2025.02 and 2026.08): operation, xAPIC offset, value.
SEVEN = [
    (READ, 0x0F0, 0xFF),
    (WRITE, 0x0F0, 0x1FF),
    (READ, 0x320, 0x10000),
    (WRITE, 0x320, 0x20005),
    (WRITE, 0x380, 0xFFFFFFFF),
    (READ, 0x320, 0x20005),
    (WRITE, 0x320, 0x30005),
]

#: Alternate Injection begins.
BEGIN = Event("alternate-injection", 0, 0, "", {"vmpl": 2, "active": 1, "apic_base": 0xFEE00900, "by_policy": 0})

DEFAULTS = Access(
    index=0,
    operation=READ,
    register=by_offset(0x0F0),
    path=Path.MMIO,
    value=0xFF,
    size=4,
    vcpu=0,
    vmpl=2,
    mode=ApicMode.XAPIC,
    outcome=Outcome.OK,
    served_by=Server.HYPERVISOR,
    phase=Phase.SEC,
    pc=0xFFFCF123,
    module="SecMain",
    module_offset=0x1A2B,
    time_ns=1000,
)


def begins(time_ns: int = 0, vcpu: int = 0, active: int = 1) -> Event:
    """Alternate Injection begins on a vCPU, or with active=0 ends."""
    return dataclasses.replace(BEGIN, time_ns=time_ns, vcpu=vcpu, fields={**BEGIN.fields, "active": active})


def access(operation: Operation, register: Register, value: int | None, **fields: Any) -> Access:
    """An access in SEC by vCPU 0 at VMPL2, with other values for `fields`."""
    return dataclasses.replace(DEFAULTS, operation=operation, register=register, value=value, **fields)


def xapic(operation: Operation, offset: int, value: int | None = 0, **fields: Any) -> Access:
    """An access to the xAPIC page, in xAPIC mode."""
    return access(operation, by_offset(offset), value, **fields)


def x2apic(operation: Operation, msr: int, value: int | None = 0, **fields: Any) -> Access:
    """An access to an x2APIC MSR, in x2APIC mode."""
    return access(operation, by_msr(msr), value, **{"path": Path.MSR, "mode": ApicMode.X2APIC, **fields})


def base(operation: Operation, value: int | None, mode: ApicMode | None, **fields: Any) -> Access:
    """An access to APIC_BASE; `mode` is the one before it."""
    return access(operation, APIC_BASE, value, **{"path": Path.MSR, "mode": mode, "size": 8, **fields})


def timeline(accesses: Sequence[Access] = (), **fields: Any) -> Timeline:
    """A complete emulated run into PEI, with other values for `fields`. Indexes are set.

    With Alternate Injection it begins on each vCPU, unless the events say otherwise.
    """
    values: dict[str, Any] = {
        "phases": (
            PhaseMark(Phase.SEC, 0, 0, "entry", Known.PROVEN),
            PhaseMark(Phase.PEI, len(accesses), 9000, "PeiCore", Known.PROVEN),
        ),
        "events": (),
        "witness": "emulated host log",
        "platform": "emulated",
        "complete": True,
        "gaps": (),
        "not_observed": frozenset(),
        "reached": Phase.PEI,
        "alternate_injection": True,
        "svsm": True,
        "apic_protocol": True,
    }
    values |= fields
    if values["alternate_injection"] and not any(event.kind == BEGIN.kind for event in values["events"]):
        vcpus = {0} | {entry.vcpu for entry in accesses if entry.vcpu is not None}
        begins = tuple(dataclasses.replace(BEGIN, vcpu=vcpu) for vcpu in sorted(vcpus))
        values["events"] = (*begins, *values["events"])
    numbered = tuple(dataclasses.replace(entry, index=index) for index, entry in enumerate(accesses))
    return Timeline(accesses=numbered, **values)


def stock_sec() -> list[Access]:
    """Stock OVMF's SEC: each access after a read of APIC_BASE."""
    accesses = []
    for operation, offset, value in SEVEN:
        accesses += [base(READ, 0xFEE00900, ApicMode.XAPIC), xapic(operation, offset, value)]
    return accesses


def fixed_sec() -> list[Access]:
    """SEC of a firmware that goes to x2APIC mode first (the patch series of ovmf_patches, measured)."""
    accesses = [base(READ, 0xFEE00900, ApicMode.XAPIC), base(WRITE, 0xFEE00D00, ApicMode.XAPIC)]
    for operation, offset, value in SEVEN:
        accesses += [
            base(READ, 0xFEE00D00, ApicMode.X2APIC),
            x2apic(operation, 0x800 + (offset >> 4), value),
        ]
    return accesses
