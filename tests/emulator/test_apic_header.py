# SPDX-License-Identifier: GPL-2.0-or-later
"""The local APIC's numbers are the same in C (include/apic.h), in Python and in the virtual APIC's behaviour."""

from __future__ import annotations

import re

import pytest

from snp_harness.apic import apic_base
from snp_harness.apic.registers import REGISTERS, X2APIC_MSR_FIRST, X2APIC_MSR_LAST, Register
from tests.emulator.native import EMULATOR
from tests.emulator.vapic import Result, Vapic

HEADER = (EMULATOR / "include" / "apic.h").read_text()
NUMBERS = {name: int(value, 16) for name, value in re.findall(r"^\s(\w+) = (0x[0-9a-f]+),", HEADER, re.MULTILINE)}
BITS = {name: 1 << int(bit) for name, bit in re.findall(r"^#define (\w+)\s+BIT\((\d+)\)", HEADER, re.MULTILINE)}

REGISTER_NAMES = {
    "APIC_ID": "APIC ID",
    "APIC_VERSION": "Version",
    "APIC_TPR": "TPR",
    "APIC_APR": "APR",
    "APIC_PPR": "PPR",
    "APIC_EOI": "EOI",
    "APIC_REMOTE_READ": "RRR",
    "APIC_LDR": "LDR",
    "APIC_DFR": "DFR",
    "APIC_SPIV": "SVR",
    "APIC_ISR": "ISR0",
    "APIC_TMR": "TMR0",
    "APIC_IRR": "IRR0",
    "APIC_ESR": "ESR",
    "APIC_ICR": "ICR",
    "APIC_ICR2": "ICR high",
    "APIC_LVT_TIMER": "Timer LVT",
    "APIC_LVT_THERMAL": "Thermal LVT",
    "APIC_LVT_PERFORMANCE": "Performance LVT",
    "APIC_LVT_LINT0": "LINT0 LVT",
    "APIC_LVT_LINT1": "LINT1 LVT",
    "APIC_LVT_ERROR": "Error LVT",
    "APIC_TIMER_INITIAL": "Timer Initial Count",
    "APIC_TIMER_CURRENT": "Timer Current Count",
    "APIC_TIMER_DIVIDE": "Timer Divide",
    "APIC_EXTENDED_FEATURE": "Extended Feature",
}
# KVM's APIC has neither: its APR is xAPIC's only, and there is no extended register space.
NOT_IN_KVM = {r.msr for r in REGISTERS if r.name == "APR" or (r.offset or 0) >= 0x400}


@pytest.mark.parametrize(("c_name", "name"), REGISTER_NAMES.items())
def test_offsets(c_name: str, name: str) -> None:
    (register,) = (r for r in REGISTERS if r.name == name)
    assert NUMBERS[c_name] == register.offset
    assert register.msr in (None, NUMBERS["MSR_X2APIC_FIRST"] + (NUMBERS[c_name] >> 4))


def test_self_ipi() -> None:
    (register,) = (r for r in REGISTERS if r.name == "SELF_IPI")
    assert register.msr == NUMBERS["MSR_X2APIC_FIRST"] + (NUMBERS["APIC_SELF_IPI"] >> 4)


def test_apic_base() -> None:
    assert NUMBERS["MSR_APIC_BASE"] == apic_base.MSR_APIC_BASE
    assert (NUMBERS["MSR_X2APIC_FIRST"], NUMBERS["MSR_X2APIC_LAST"]) == (X2APIC_MSR_FIRST, X2APIC_MSR_LAST)
    assert (BITS["APIC_BASE_BSP"], BITS["APIC_BASE_EXTD"], BITS["APIC_BASE_EN"]) == (
        apic_base.BSP,
        apic_base.EXTD,
        apic_base.EN,
    )
    assert NUMBERS["APIC_PAGE_SIZE"] == apic_base.APIC_PAGE_SIZE
    assert f"#define APIC_DEFAULT_BASE  {apic_base.APIC_PAGE:#x}ull" in HEADER


def test_reset_value(vapic: Vapic) -> None:
    assert vapic.base == apic_base.RESET_VALUE


@pytest.mark.parametrize(
    "register", [r for r in REGISTERS if r.msr not in (None, apic_base.MSR_APIC_BASE)], ids=lambda r: r.name
)
def test_x2apic_directions(vapic: Vapic, register: Register) -> None:
    assert register.msr is not None
    vapic.write_base(apic_base.RESET_VALUE | apic_base.EXTD)
    directions = "r" * (vapic.msr_read(register.msr)[0] is Result.OK)
    directions += "w" * (vapic.msr_write(register.msr, 0).result is Result.OK)
    assert directions == ("" if register.msr in NOT_IN_KVM else register.x2apic)


@pytest.mark.parametrize("before", [m for m in apic_base.ApicMode if m is not apic_base.ApicMode.INVALID])
@pytest.mark.parametrize("after", apic_base.ApicMode)
def test_transitions(vapic: Vapic, before: apic_base.ApicMode, after: apic_base.ApicMode) -> None:
    bits = {"disabled": 0, "xAPIC": apic_base.EN, "x2APIC": apic_base.EN | apic_base.EXTD, "invalid": apic_base.EXTD}
    vapic.write_base(apic_base.APIC_PAGE | bits[before.value])
    accepted = vapic.write_base(apic_base.APIC_PAGE | bits[after.value]).result is Result.OK
    assert accepted == apic_base.is_legal(before, after)
