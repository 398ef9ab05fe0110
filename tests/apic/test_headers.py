# SPDX-License-Identifier: GPL-2.0-or-later
"""The local APIC's numbers in Python are those of the C header."""

from __future__ import annotations

from snp_harness.apic import apic_base, ipi
from snp_harness.apic.registers import REGISTERS, X2APIC_MSR_FIRST, X2APIC_MSR_LAST
from tests.helpers.c_headers import INCLUDE, assert_same

APIC = f"{INCLUDE}/apic.h"
#: The header's name of a register, by its name in Python.
C_NAMES = {
    "APIC ID": "APIC_ID",
    "Version": "APIC_VERSION",
    "TPR": "APIC_TPR",
    "APR": "APIC_APR",
    "PPR": "APIC_PPR",
    "EOI": "APIC_EOI",
    "RRR": "APIC_REMOTE_READ",
    "LDR": "APIC_LDR",
    "DFR": "APIC_DFR",
    "SVR": "APIC_SPIV",
    "ISR0": "APIC_ISR",
    "TMR0": "APIC_TMR",
    "IRR0": "APIC_IRR",
    "ESR": "APIC_ESR",
    "ICR": "APIC_ICR",
    "ICR high": "APIC_ICR2",
    "Timer LVT": "APIC_LVT_TIMER",
    "Thermal LVT": "APIC_LVT_THERMAL",
    "Performance LVT": "APIC_LVT_PERFORMANCE",
    "LINT0 LVT": "APIC_LVT_LINT0",
    "LINT1 LVT": "APIC_LVT_LINT1",
    "Error LVT": "APIC_LVT_ERROR",
    "Timer Initial Count": "APIC_TIMER_INITIAL",
    "Timer Current Count": "APIC_TIMER_CURRENT",
    "Timer Divide": "APIC_TIMER_DIVIDE",
    "SELF_IPI": "APIC_SELF_IPI",
    "Extended Feature": "APIC_EXTENDED_FEATURE",
    "Extended LVT3": "APIC_EXTENDED_LAST",
}


def test_registers() -> None:
    registers = {register.name: register for register in REGISTERS}
    offsets = {c_name: registers[name].offset for name, c_name in C_NAMES.items()}
    assert_same([APIC], {c_name: offset for c_name, offset in offsets.items() if offset is not None})
    msrs = {f"MSR_X2APIC_FIRST + {c_name} / 16": registers[name].msr for name, c_name in C_NAMES.items()}
    assert_same([APIC], {c_name: msr for c_name, msr in msrs.items() if msr is not None})


def test_apic_base() -> None:
    assert_same(
        [APIC],
        {
            "MSR_APIC_BASE": apic_base.MSR_APIC_BASE,
            "MSR_X2APIC_FIRST": X2APIC_MSR_FIRST,
            "MSR_X2APIC_LAST": X2APIC_MSR_LAST,
            "APIC_BASE_BSP": apic_base.BSP,
            "APIC_BASE_EXTD": apic_base.EXTD,
            "APIC_BASE_EN": apic_base.EN,
            "APIC_DEFAULT_BASE": apic_base.APIC_PAGE,
            "APIC_PAGE_SIZE": apic_base.APIC_PAGE_SIZE,
        },
    )


def test_interrupt_commands() -> None:
    assert_same(
        [APIC],
        {
            "APIC_ICR_VECTOR": ipi.VECTOR_MASK,
            "APIC_ICR_DELIVERY_SHIFT": ipi.DELIVERY_MODE_SHIFT,
            "APIC_ICR_DELIVERY": ipi.DELIVERY_MODE_MASK << ipi.DELIVERY_MODE_SHIFT,
            **{f"APIC_DELIVER_{mode.name}": mode for mode in ipi.DeliveryMode},
        },
    )
