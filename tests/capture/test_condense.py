# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

from collections.abc import Iterable

import pytest

from snp_harness.apic.access import Access, Operation, Outcome, Path, Phase, Server
from snp_harness.apic.apic_base import ApicMode
from snp_harness.apic.registers import APIC_BASE, Register, by_offset
from snp_harness.capture import condense
from snp_harness.capture.condense import Condenser

TPR, ICR = by_offset(0x80), by_offset(0x300)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(condense, "ACCESS_LIMIT", 2)
    monkeypatch.setattr(condense, "SORT_LIMIT", 1)
    monkeypatch.setattr(condense, "SORTS_LIMIT", 2)


def kept(condenser: Condenser, accesses: Iterable[tuple[Register, int]]) -> list[int]:
    values: list[int] = []
    for register, value in accesses:
        access = Access(
            index=len(values), operation=Operation.WRITE, register=register, path=Path.MSR, value=value, size=4,
            vcpu=0, vmpl=2, mode=ApicMode.X2APIC, outcome=Outcome.OK, served_by=Server.HYPERVISOR, phase=Phase.DXE,
            pc=None, module=None, module_offset=None, time_ns=None,
        )  # fmt: skip
        if condenser.keeps(access):
            values.append(value)
    return values


def test_beyond_the_limit_one_of_a_kind_is_kept() -> None:
    condenser = Condenser()
    assert kept(condenser, [(TPR, value) for value in range(6)]) == [0, 1, 2]
    assert (condenser.condensed, condenser.dropped) == (3, 0)
    assert [condenser.condensed_of(number) for number in (1, 2, 3)] == [0, 3, 3]
    condenser.take_back()
    assert condenser.condensed == 2


@pytest.mark.parametrize(("register", "first", "other"), [(APIC_BASE, 0xFEE00D00, 0xFEE00900), (ICR, 0x4620, 0x4621)])
def test_a_value_that_rules_judge_makes_a_kind(register: Register, first: int, other: int) -> None:
    condenser = Condenser()
    assert kept(condenser, [(TPR, 0), (TPR, 0), (register, first), (register, first), (register, other)]) == [
        0, 0, first, other,
    ]  # fmt: skip
    assert condenser.condensed == 1


def test_a_kind_too_many_is_dropped_and_counted() -> None:
    condenser = Condenser()
    registers = [TPR, TPR, TPR, ICR, by_offset(0x320), by_offset(0x320), TPR]
    assert kept(condenser, [(register, number) for number, register in enumerate(registers)]) == [0, 1, 2, 3]
    assert (condenser.condensed, condenser.dropped) == (1, 2)
