# SPDX-License-Identifier: GPL-2.0-or-later
"""The C headers of the emulated host and the Python constants say the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from snp_harness.apic import apic_base, ipi
from snp_harness.apic.registers import REGISTERS, X2APIC_MSR_FIRST, X2APIC_MSR_LAST
from snp_harness.svsm import protocol, sev

INCLUDE = Path(__file__).parents[2] / "harness" / "emulator" / "include"

_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_DEFINE = re.compile(r"^#define\s+([A-Z][A-Z0-9_]{0,60})\s+(\S[^\n]{0,80})$", re.MULTILINE)
_ENUMERATOR = re.compile(r"^\s*([A-Z][A-Z0-9_]{0,60})\s*=\s*([^,}\n]{1,80})", re.MULTILINE)
_TERM = re.compile(r"\(*(?:BIT\((\d{1,2})\)|(0x[0-9a-fA-F]{1,16}|\d{1,10})u?l{0,2}|([A-Z][A-Z0-9_]{0,60}))\)*")


def constants(header: str) -> dict[str, int]:
    """Every #define and enumerator of a header whose value is a number, BIT(n), a known name, or a sum of these."""
    text = _COMMENT.sub("", INCLUDE.joinpath(header).read_text(encoding="utf-8"))
    values: dict[str, int] = {}
    for name, expression in [*_ENUMERATOR.findall(text), *_DEFINE.findall(text)]:
        terms = [_term(part.strip(), values) for part in expression.split("+")]
        if None not in terms:
            values[name] = sum(term for term in terms if term is not None)
    return values


def _term(text: str, known: dict[str, int]) -> int | None:
    match = _TERM.fullmatch(text)
    if match is None:
        return None
    bit, number, name = match.groups()
    if bit is not None:
        return 1 << int(bit)
    return int(number, 0) if number is not None else known.get(name)


def with_prefix(header: str, prefix: str) -> dict[str, int]:
    found = {name.removeprefix(prefix): value for name, value in constants(header).items() if name.startswith(prefix)}
    assert found, f"{header} has no {prefix}*"
    return found


def names(kind: type[sev.SevStatus] | type[sev.HypervisorFeature]) -> dict[str, int]:
    return {str(member.name): member.value for member in kind}


def test_the_parser_reads_what_it_is_for() -> None:
    svsm = constants("svsm.h")
    assert svsm["SVSM_PVALIDATE_VALIDATE"] == 4
    assert svsm["SVSM_PVALIDATE_UNCHANGED"] == 0x80001010
    assert constants("sev.h")["SEV_MSR_STATUS"] == 0xC0010131


def test_protocols_and_calls() -> None:
    assert with_prefix("svsm.h", "SVSM_PROTOCOL_") == protocol.Protocol.__members__
    core = with_prefix("svsm.h", "SVSM_CORE_")
    assert {name: value for name, value in core.items() if "VERSION" not in name} == protocol.CoreCall.__members__
    apic = with_prefix("svsm.h", "SVSM_APIC_")
    assert {name: apic[name] for name in protocol.ApicCall.__members__} == protocol.ApicCall.__members__
    configure = with_prefix("svsm.h", "SVSM_APIC_CONFIGURE_")
    assert {name: configure[name] for name in protocol.ApicConfigure.__members__} == protocol.ApicConfigure.__members__
    assert apic["ERR_CANNOT_REGISTER"] == protocol.APIC_CANNOT_REGISTER
    assert {name: value for name, value in apic.items() if name.startswith("VECTOR_")} == {
        name.removeprefix("APIC_"): getattr(protocol, name)
        for name in ("APIC_VECTOR_MASK", "APIC_VECTOR_ENABLE", "APIC_VECTOR_ALL", "APIC_VECTOR_ALL_MIN")
    }


def test_results() -> None:
    results = {**with_prefix("svsm.h", "SVSM_ERR_"), "SUCCESS": constants("svsm.h")["SVSM_SUCCESS"]}
    assert results == protocol.Result.__members__


def test_sev_status_and_features() -> None:
    status = with_prefix("sev.h", "SEV_STATUS_")
    assert status == names(sev.SevStatus)
    shift = with_prefix("sev.h", "SEV_FEATURES_").pop("STATUS_SHIFT")
    assert shift == sev.SEV_FEATURES_SHIFT
    for name, bit in with_prefix("sev.h", "SEV_FEATURES_").items():
        if name != "STATUS_SHIFT":
            assert bit == sev.sev_features(sev.SevStatus[name])


def test_msr_numbers() -> None:
    msrs = with_prefix("sev.h", "SEV_MSR_")
    assert msrs == {"GHCB": sev.MSR_GHCB, "STATUS": sev.MSR_SEV_STATUS, "SVSM_CAA": sev.MSR_SVSM_CAA}


def test_hypervisor_features() -> None:
    assert with_prefix("ghcb.h", "HV_FEATURE_") == dict(sev.HypervisorFeature.__members__)


def test_terminations() -> None:
    assert with_prefix("ghcb.h", "GHCB_TERM_SET_") == sev.TerminationSet.__members__
    text = (INCLUDE.parent / "svsm" / "ghcb_call.h").read_text(encoding="utf-8")
    for reason in sev.SvsmTermination:
        assert f"SVSM_TERM_{reason.name} = {reason.value}," in text


def test_ghcb_requests() -> None:
    header = with_prefix("ghcb.h", "GHCB_MSR_")
    requests = {name.removesuffix("_REQ"): value for name, value in header.items() if name.endswith("_REQ")}
    assert requests == sev.GhcbRequest.__members__


def test_nae_events() -> None:
    header = with_prefix("ghcb.h", "NAE_")
    assert {name: header[name] for name in sev.NaeEvent.__members__} == sev.NaeEvent.__members__
    # And the other way: every software-defined event of the header has its name here.
    events = {name: value for name, value in header.items() if value >> 28 == 8 and value < 0x80010000}
    events = {name: value for name, value in events.items() if not name.startswith("EVENTINJ_")}
    assert events == {name: event for name, event in sev.NaeEvent.__members__.items() if event >= 0x80000000}


def test_apic_base() -> None:
    header = constants("apic.h")
    assert header["MSR_APIC_BASE"] == apic_base.MSR_APIC_BASE
    assert (header["MSR_X2APIC_FIRST"], header["MSR_X2APIC_LAST"]) == (X2APIC_MSR_FIRST, X2APIC_MSR_LAST)
    assert (header["APIC_BASE_BSP"], header["APIC_BASE_EXTD"], header["APIC_BASE_EN"]) == (
        apic_base.BSP,
        apic_base.EXTD,
        apic_base.EN,
    )
    assert (header["APIC_DEFAULT_BASE"], header["APIC_PAGE_SIZE"]) == (apic_base.APIC_PAGE, apic_base.APIC_PAGE_SIZE)


def test_interrupt_commands() -> None:
    header = constants("apic.h")
    assert header["APIC_ICR_VECTOR"] == ipi.VECTOR_MASK
    assert header["APIC_ICR_DELIVERY_SHIFT"] == ipi.DELIVERY_MODE_SHIFT
    assert header["APIC_ICR_DELIVERY"] == ipi.DELIVERY_MODE_MASK << ipi.DELIVERY_MODE_SHIFT
    modes = with_prefix("apic.h", "APIC_DELIVER_")
    assert {mode.name: mode.value for mode in ipi.DeliveryMode} == {name: modes[name] for name in ("FIXED", "NMI")}


@pytest.mark.parametrize(
    ("name", "constant"),
    [
        ("APIC ID", "ID"),
        ("Version", "VERSION"),
        ("TPR", "TPR"),
        ("APR", "APR"),
        ("PPR", "PPR"),
        ("EOI", "EOI"),
        ("RRR", "REMOTE_READ"),
        ("LDR", "LDR"),
        ("DFR", "DFR"),
        ("SVR", "SPIV"),
        ("ISR0", "ISR"),
        ("TMR0", "TMR"),
        ("IRR0", "IRR"),
        ("ESR", "ESR"),
        ("ICR", "ICR"),
        ("ICR high", "ICR2"),
        ("Timer LVT", "LVT_TIMER"),
        ("Thermal LVT", "LVT_THERMAL"),
        ("Performance LVT", "LVT_PERFORMANCE"),
        ("LINT0 LVT", "LVT_LINT0"),
        ("LINT1 LVT", "LVT_LINT1"),
        ("Error LVT", "LVT_ERROR"),
        ("Timer Initial Count", "TIMER_INITIAL"),
        ("Timer Current Count", "TIMER_CURRENT"),
        ("Timer Divide", "TIMER_DIVIDE"),
        ("Extended Feature", "EXTENDED_FEATURE"),
        ("Extended LVT3", "EXTENDED_LAST"),
    ],
)
def test_register_offsets(name: str, constant: str) -> None:
    (register,) = (register for register in REGISTERS if register.name == name)
    assert with_prefix("apic.h", "APIC_")[constant] == register.offset
