# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snp_harness.apic.registers import APIC_BASE, REGISTERS, by_msr, by_offset


def test_every_register_is_found_by_its_numbers() -> None:
    for register in REGISTERS:
        if register.offset is not None:
            assert by_offset(register.offset) is register
        if register.msr is not None:
            assert by_msr(register.msr) is register
    assert by_msr(0x1B) is APIC_BASE


def test_numbers_and_names_are_unique() -> None:
    for numbers in (
        [r.name for r in REGISTERS],
        [r.offset for r in REGISTERS if r.offset is not None],
        [r.msr for r in REGISTERS if r.msr is not None],
    ):
        assert len(numbers) == len(set(numbers))


def test_msr_numbers_follow_the_formula_of_the_manual() -> None:
    for register in REGISTERS:
        if register.offset is not None and register.msr is not None:
            assert register.msr == 0x800 + (register.offset >> 4)
        assert (register.msr is None) == (register.x2apic == "")
        assert (register.offset is None) == (register.xapic == "")


def test_the_exceptions_to_the_formula() -> None:
    # APM volume 2, section 16.11.1: DFR, RRR and the ICR's high half have no MSR, SELF_IPI no offset.
    assert {r.name for r in REGISTERS if r.msr is None} == {"RRR", "DFR", "ICR high"}
    assert {r.name for r in REGISTERS if r.offset is None} == {"APIC_BASE", "SELF_IPI"}
    for msr in (0x80C, 0x80E, 0x831):
        assert by_msr(msr).reserved
        assert by_msr(msr).offset is None
    assert by_offset(0x3F0).reserved
    assert by_offset(0x3F0).msr is None


def test_banks_are_expanded() -> None:
    assert by_offset(0x170).name == "ISR7"
    assert by_msr(0x81F).name == "TMR7"
    assert by_msr(0x820).name == "IRR0"
    assert by_offset(0x530).name == "Extended LVT3"
    assert by_msr(0x84F).name == "IER7"


@pytest.mark.parametrize(
    ("directions", "msrs"),
    [
        # SVSM APIC protocol, version 1 (COCONUT kernel/src/cpu/apic.rs): what READ_REGISTER and WRITE_REGISTER handle.
        ("r", {0x802, 0x808, 0x80A, 0x80D, *range(0x810, 0x828), 0x830}),
        ("w", {0x808, 0x80B, 0x830, 0x83F}),
    ],
)
def test_what_the_svsm_handles(directions: str, msrs: set[int]) -> None:
    assert {r.msr for r in REGISTERS if directions in r.svsm} == msrs
    # Nothing is handled that x2APIC mode does not have.
    assert all(direction in r.x2apic for r in REGISTERS for direction in r.svsm)


def test_a_free_slot_is_one_register_from_both_sides() -> None:
    assert by_offset(0x700) == by_msr(0x870)
    assert by_offset(0x700).reserved


def test_bytes_inside_a_register_belong_to_it_and_the_gap_to_nobody() -> None:
    assert by_offset(0x0F3).name == "SVR"
    assert by_offset(0x0F4).reserved
    assert by_offset(0x0F4).offset == 0x0F4


@given(st.integers())
def test_any_number_gives_a_register(number: int) -> None:
    for register, found in ((by_offset(number), number), (by_msr(number), number)):
        assert register.reserved or found in range(0x1000)
        assert register.name
    assert by_msr(number).msr == number
