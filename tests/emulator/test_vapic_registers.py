# SPDX-License-Identifier: GPL-2.0-or-later
"""The virtual APIC behaves as the tables in Python: directions of registers, transitions of modes."""

from __future__ import annotations

import pytest

from snp_harness.apic import apic_base
from snp_harness.apic.registers import REGISTERS, Register
from tests.emulator.vapic import Result, Vapic

# KVM's APIC has neither an APR in x2APIC mode nor the extended register space.
NOT_IN_KVM = {r.msr for r in REGISTERS if r.name == "APR" or (r.offset or 0) >= 0x400}


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
