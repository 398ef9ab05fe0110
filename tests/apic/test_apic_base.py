# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import itertools

import pytest

from snp_harness.apic.apic_base import BSP, EN, EXTD, MSR_APIC_BASE, RESET_VALUE, ApicMode, is_legal, mode_of

#: The matrix of KVM's kvm_apic_set_base and kvm-unit-tests x86/apic.c; rows are the mode before.
MATRIX = {
    ApicMode.DISABLED: "ok ok GP GP",
    ApicMode.XAPIC: "ok ok ok GP",
    ApicMode.X2APIC: "ok GP ok GP",
}
COLUMNS = (ApicMode.DISABLED, ApicMode.XAPIC, ApicMode.X2APIC, ApicMode.INVALID)


@pytest.mark.parametrize(("before", "after"), [*itertools.product(MATRIX, COLUMNS)])
def test_transitions(before: ApicMode, after: ApicMode) -> None:
    assert is_legal(before, after) == (MATRIX[before].split()[COLUMNS.index(after)] == "ok")


def test_nothing_starts_from_the_invalid_mode() -> None:
    assert not any(is_legal(ApicMode.INVALID, after) for after in ApicMode)


@pytest.mark.parametrize(
    ("value", "mode"),
    [
        (0xFEE00900, ApicMode.XAPIC),
        (0xFEE00800, ApicMode.XAPIC),
        (0xFEE00D00, ApicMode.X2APIC),
        (0xFEE00500, ApicMode.INVALID),
        (0xFEE00100, ApicMode.DISABLED),
        (0, ApicMode.DISABLED),
    ],
)
def test_mode_of(value: int, mode: ApicMode) -> None:
    assert mode_of(value) is mode


def test_numbers() -> None:
    assert RESET_VALUE == 0xFEE00900
    assert (MSR_APIC_BASE, BSP, EXTD, EN) == (0x1B, 0x100, 0x400, 0x800)
