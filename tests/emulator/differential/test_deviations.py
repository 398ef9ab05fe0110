# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the emulated host's virtual APIC is known to differ from KVM's, and what each of them does.

docs/emulated-host.md has the reasons. A change of a line on either side needs an explanation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.emulator.differential.operations import OTHER_PAGE, Kind, Operation
from tests.emulator.differential.run import Answers

pytestmark = [pytest.mark.nested, pytest.mark.emulated]

#: Both(operations) returns the answers of KVM and of the emulated host.
Both = Callable[[list[Operation]], tuple[Answers, Answers]]


def read(register: int, page: int = 0xFEE00) -> Operation:
    return Operation(Kind.READ_MMIO, register, page=page)


def write(register: int, value: int) -> Operation:
    return Operation(Kind.WRITE_MMIO, register, value)


def wrmsr(msr: int, value: int) -> Operation:
    return Operation(Kind.WRITE_MSR, msr, value)


def rdmsr(msr: int) -> Operation:
    return Operation(Kind.READ_MSR, msr)


def cr8(value: int) -> Operation:
    return Operation(Kind.WRITE_CR8, value=value)


TAKE = Operation(Kind.TAKE)
X2APIC = wrmsr(0x1B, 0xFEE00D00)


@dataclass(frozen=True)
class Deviation:
    """Operations from a normal state, and the answers of KVM and of the emulated host."""

    name: str
    operations: list[Operation]
    kvm: str
    emulated: str


DEVIATIONS = [
    # KVM's emulator, which has the instruction where the processor has no decode assists, ignores bits 63:32.
    Deviation(
        "bits 63:32 of CR4", [Operation(Kind.RESERVED_CR4, 63), Operation(Kind.RESERVED_CR4, 32)], ". .", "d,1 d,1"
    ),
    # KVM's kvm_lapic_reg_write does not check the value; SDM 11.12.10.3 has #GP.
    Deviation("x2APIC EOI other than 0", [X2APIC, wrmsr(0x80B, 1)], ". .", ". !"),
    # KVM has no errors: APIC_ESR is never set (SDM 11.5.3 has them).
    Deviation("illegal register in ESR", [write(0x3F0, 0x41), write(0x280, 0), read(0x280)], ". . 0", ". . 80"),
    Deviation("illegal vector in ESR", [write(0x300, 0x4400E), write(0x280, 0), read(0x280)], ". . 0", ". . 20"),
    # KVM requests it nevertheless: it stays in IRR, below every priority.
    Deviation("illegal vector in IRR", [write(0x300, 0x4400E), read(0x200), TAKE], ". 4000 -", ". 0 -"),
    # __kvm_apic_set_base makes no KVM_REQ_EVENT: KVM looks for a request when the priority falls, or at the next one.
    Deviation(
        "a request from before the APIC was enabled again",
        [write(0x300, 0x44041), wrmsr(0x1B, 0xFEE00100), TAKE, wrmsr(0x1B, 0xFEE00900), TAKE, cr8(0xF), cr8(0), TAKE],
        ". . - . - . . 41",
        ". . - . 41 . . -",
    ),
    # kvm_apic_map_get_dest_lapic: vector_hashing picks one of the addressed, though no APIC has that address.
    Deviation(
        "lowest priority to several logical addresses",
        [X2APIC, wrmsr(0x830, 0xFF00004941), TAKE, wrmsr(0x830, 0xFF00004940), TAKE],
        ". . - . 40",
        ". . 41 . -",
    ),
    # TCG's MOV to CR8 checks no reserved bits; KVM's kvm_set_cr8 does.
    Deviation("reserved bits of CR8", [cr8(0x10), Operation(Kind.READ_CR8)], "! 0", ". 0"),
    # The emulated host sees V_TPR, which did not change; KVM sees each write.
    Deviation("CR8 that leaves the class", [write(0x080, 0x2F), cr8(2), read(0x080)], ". . 20", ". . 2f"),
    # __start_apic_timer keeps the end of the last count.
    Deviation(
        "count of a reserved timer mode",
        [
            *(write(0x3E0, 0xA), write(0x380, 0xFFFFFFFF), write(0x320, 0x70041), write(0x380, 0xFFFFFFF0)),
            Operation(Kind.READ_MMIO_NONZERO, 0x390),
        ],
        ". . . . 1",
        ". . . . 0",
    ),
]


def test_each_is_as_it_is_known(both: Both) -> None:
    operations: list[Operation] = []
    for deviation in DEVIATIONS:
        operations += [Operation(Kind.NORMALISE), *deviation.operations]
    answers = both(operations)
    found = {}
    at = 0
    for deviation in DEVIATIONS:
        start, at = at + 1, at + 1 + len(deviation.operations)
        found[deviation.name] = tuple(" ".join(answer.lines[start:at]) for answer in answers)
    assert found == {deviation.name: (deviation.kvm, deviation.emulated) for deviation in DEVIATIONS}


def test_a_page_that_was_used_before(both: Both) -> None:
    """The APIC moves to a page that the guest has read as a device's, and back."""
    version = read(0x030, OTHER_PAGE)
    operations = [
        Operation(Kind.READ_MMIO_ANY, 0x030, page=OTHER_PAGE),
        wrmsr(0x1B, OTHER_PAGE << 12 | 0x900),
        version,
        wrmsr(0x1B, 0xFEE00900),
        read(0x030),
    ]
    kvm, emulated = both(operations)
    assert kvm.lines == emulated.lines == [".", ".", "50014", ".", "50014"]
