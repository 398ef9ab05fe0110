# SPDX-License-Identifier: GPL-2.0-or-later
"""The rules about the accesses: their mode, writes of APIC_BASE, what refuses them, and the APIC's page."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from snp_harness.apic.access import Access, Outcome, Phase, Server
from snp_harness.apic.access import Path as AccessPath
from snp_harness.apic.apic_base import ApicMode
from snp_harness.apic.contract import evaluate
from snp_harness.apic.timeline import Event
from snp_harness.apic.verdict import Status
from tests.apic import samples
from tests.apic.judge import check
from tests.apic.samples import READ, WRITE, base, begins, timeline, x2apic, xapic

HOLDS, VIOLATED, INCONCLUSIVE = Status.HOLDS, Status.VIOLATED, Status.INCONCLUSIVE
ENABLE, SWITCH = 0xFEE00900, 0xFEE00D00


# --- no-access-outside-x2apic


@pytest.mark.parametrize(
    ("accesses", "events", "status"),
    [
        ([], (), HOLDS),
        (samples.fixed_sec(), (), HOLDS),
        # No phase is needed: whoever is believed to run, and whenever.
        ([xapic(READ, 0x0F0, phase=Phase.PEI)], (), VIOLATED),
        ([xapic(READ, 0x0F0, phase=Phase.OS)], (), VIOLATED),
        ([xapic(READ, 0x0F0, phase=Phase.UNKNOWN, module=None)], (), VIOLATED),
        ([x2apic(READ, 0x80F, phase=Phase.PEI, mode=ApicMode.XAPIC, outcome=Outcome.GP)], (), VIOLATED),
        ([x2apic(READ, 0x80F, phase=Phase.PEI, mode=None, outcome=Outcome.NOT_OBSERVED)], (), INCONCLUSIVE),
        # After the end of Alternate Injection on this vCPU: neither right nor wrong.
        ([xapic(READ, 0x0F0, phase=Phase.PEI)], (begins(), begins(500, active=0)), INCONCLUSIVE),
        ([xapic(READ, 0x0F0, phase=Phase.PEI)], (begins(), begins(1500, active=0)), VIOLATED),
        ([xapic(READ, 0x0F0, phase=Phase.PEI)], (begins(), begins(500, active=0), begins(600)), VIOLATED),
        ([xapic(READ, 0x0F0, phase=Phase.PEI, vcpu=1)], (begins(), begins(vcpu=1), begins(500, active=0)), VIOLATED),
    ],
)
def test_no_access_outside_x2apic(accesses: list[Access], events: tuple[Event, ...], status: Status) -> None:
    fields = {"events": events} if events else {}
    assert check("no-access-outside-x2apic", accesses, **fields).status is status


@pytest.mark.parametrize(
    ("access", "offends"),
    [
        (xapic(READ, 0x0F0), True),
        (xapic(READ, 0x0F0, mode=None), True),
        (xapic(READ, 0x0F0, mode=ApicMode.X2APIC), True),  # the path counts, too
        (xapic(READ, 0x0F0, phase=Phase.RESET), True),
        (xapic(READ, 0x0F0, phase=Phase.PEI), False),
        (xapic(READ, 0x700), True),  # a reserved register is a register
        (x2apic(READ, 0x80F), False),
        (x2apic(READ, 0x80F, mode=None), False),  # answered: so it was x2APIC mode
        (x2apic(READ, 0x80F, mode=ApicMode.XAPIC, outcome=Outcome.GP), True),
        (x2apic(READ, 0x80F, mode=ApicMode.DISABLED, outcome=Outcome.GP), True),
        (x2apic(WRITE, 0x80B, path=AccessPath.SVSM), False),
        (x2apic(WRITE, 0x80B, path=AccessPath.SVSM, mode=ApicMode.XAPIC), True),
        (x2apic(READ, 0x80F, path=AccessPath.UNKNOWN), False),
        (xapic(READ, 0x0F0, path=AccessPath.UNKNOWN), True),
        (base(READ, ENABLE, ApicMode.XAPIC), False),
        (base(WRITE, SWITCH, ApicMode.XAPIC), False),
    ],
)
def test_what_offends_in_sec(access: Access, offends: bool) -> None:
    result = check("x2apic-before-sec", [access])
    assert result.status is (VIOLATED if offends else HOLDS)
    assert len(result.offences) == offends


@pytest.mark.parametrize(
    ("reached", "complete", "status"),
    [
        (Phase.RESET, True, INCONCLUSIVE),
        (Phase.SEC, False, INCONCLUSIVE),
        (Phase.SEC, True, HOLDS),
        (Phase.PEI, False, HOLDS),
        (Phase.OS, True, HOLDS),
        (Phase.UNKNOWN, True, INCONCLUSIVE),
    ],
)
def test_no_access_holds_only_if_sec_was_seen_to_its_end(reached: Phase, complete: bool, status: Status) -> None:
    gaps = () if complete else ("timeout after 5 s",)
    result = check("x2apic-before-sec", [], reached=reached, complete=complete, gaps=gaps)
    assert result.status is status
    if status is HOLDS:
        assert result.reason == "no local-APIC access in SEC, and SEC was seen to its end"
    else:
        assert f"the furthest phase seen is {reached.name}" in result.reason
        assert complete or "timeout after 5 s" in result.reason


@pytest.mark.parametrize("fields", [{"reached": Phase.SEC, "complete": False}, {"lost": 3}])
def test_an_offence_counts_however_the_run_ended(fields: dict[str, Any]) -> None:
    verdict = evaluate(timeline([xapic(READ, 0x0F0)], **fields))
    assert verdict.status is VIOLATED


@pytest.mark.parametrize(
    ("access", "reason"),
    [
        (xapic(READ, 0x0F0, path=AccessPath.UNKNOWN, mode=None), "in SEC in a mode that was not observed"),
        (x2apic(READ, 0x80F, mode=None, outcome=Outcome.NOT_OBSERVED), "in SEC in a mode that was not observed"),
        (xapic(READ, 0x0F0, phase=Phase.UNKNOWN), "outside x2APIC mode in a phase that was not observed"),
    ],
)
def test_an_access_that_cannot_be_judged(access: Access, reason: str) -> None:
    result = check("x2apic-before-sec", [access])
    assert (result.status, result.reason) == (INCONCLUSIVE, f"1 local-APIC access {reason}")


# --- legal-transition


@pytest.mark.parametrize(
    ("accesses", "status"),
    [
        ([], HOLDS),
        ([base(WRITE, SWITCH, ApicMode.XAPIC)], HOLDS),
        ([base(WRITE, 0xFEE00100, ApicMode.XAPIC), base(WRITE, ENABLE, ApicMode.DISABLED)], HOLDS),
        ([base(WRITE, SWITCH, ApicMode.DISABLED, outcome=Outcome.GP)], VIOLATED),
        ([base(WRITE, 0xFEE00500, ApicMode.XAPIC, outcome=Outcome.GP)], VIOLATED),
        (
            [base(WRITE, SWITCH, ApicMode.XAPIC), base(WRITE, ENABLE, ApicMode.X2APIC, outcome=Outcome.GP)],
            VIOLATED,
        ),
        # Refused for a reserved bit: the transition is legal; no-refused-access reports it.
        ([base(WRITE, SWITCH | 1, ApicMode.XAPIC, outcome=Outcome.GP)], HOLDS),
        # The mode follows from earlier accesses if the witness does not report it.
        ([base(READ, ENABLE, None), base(WRITE, SWITCH, None), base(WRITE, ENABLE, None)], VIOLATED),
        ([base(READ, ENABLE, None), base(WRITE, SWITCH, None)], HOLDS),
        ([base(WRITE, SWITCH, None)], INCONCLUSIVE),
        ([base(WRITE, None, ApicMode.XAPIC)], INCONCLUSIVE),
        # A refused write changes nothing.
        ([base(READ, ENABLE, None), base(WRITE, SWITCH | 1, None, outcome=Outcome.GP), base(WRITE, 0, None)], HOLDS),
        # Another vCPU's mode is its own.
        ([base(WRITE, SWITCH, ApicMode.XAPIC), base(WRITE, ENABLE, ApicMode.XAPIC, vcpu=1)], HOLDS),
        # In x2APIC mode without a write that led there.
        ([x2apic(READ, 0x80F)], VIOLATED),
        ([base(READ, SWITCH, ApicMode.X2APIC)], VIOLATED),
        ([base(WRITE, SWITCH, ApicMode.XAPIC), x2apic(READ, 0x80F, vcpu=1)], VIOLATED),
        ([base(WRITE, SWITCH, ApicMode.XAPIC), x2apic(READ, 0x80F)], HOLDS),
        ([x2apic(READ, 0x80F, vcpu=None)], HOLDS),
    ],
)
def test_legal_transition(accesses: list[Access], status: Status) -> None:
    assert check("legal-transition", accesses).status is status


def test_a_vcpu_that_is_switched_again_and_again_is_named_once() -> None:
    seen = [
        base(READ, mode, known, vcpu=1)
        for _ in range(3)
        for mode, known in ((SWITCH, ApicMode.X2APIC), (ENABLE, ApicMode.XAPIC))
    ]
    result = check("legal-transition", seen)
    assert len(result.offences) == 3
    assert "on vCPU 1; this breaks APM" in result.reason


def test_a_switch_by_somebody_else_is_told_once() -> None:
    result = check("legal-transition", [x2apic(READ, 0x80F), x2apic(READ, 0x80F)])
    assert [access.index for access in result.offences] == [0]
    assert result.reason.startswith("x2APIC mode with no write of APIC_BASE that led to it on vCPU 0; this breaks APM")


@pytest.mark.parametrize(("vcpu", "observable"), [(0, True), (None, False)])
def test_a_write_that_cannot_be_judged(vcpu: int | None, observable: bool) -> None:
    result = check("legal-transition", [base(WRITE, SWITCH, None, vcpu=vcpu)])
    assert (result.status, result.observable) == (INCONCLUSIVE, observable)


def test_a_lost_record_may_have_been_the_write() -> None:
    assert check("legal-transition", [x2apic(READ, 0x80F)], lost=1).status is INCONCLUSIVE


# --- no-xapic-after-x2apic


@pytest.mark.parametrize(
    ("accesses", "offences", "status"),
    [
        ([xapic(READ, 0x20)], [], HOLDS),
        ([base(WRITE, SWITCH, ApicMode.XAPIC), x2apic(READ, 0x802)], [], HOLDS),
        ([base(WRITE, SWITCH, ApicMode.XAPIC), xapic(READ, 0x20, mode=ApicMode.X2APIC)], [1], VIOLATED),
        ([base(WRITE, SWITCH, ApicMode.XAPIC), xapic(READ, 0x20, mode=None)], [1], VIOLATED),
        # An AP that did not follow: its own mode is legal, but the access would not be served.
        ([base(WRITE, SWITCH, ApicMode.XAPIC), xapic(READ, 0x20, vcpu=1)], [1], VIOLATED),
        ([base(WRITE, SWITCH, ApicMode.XAPIC), x2apic(READ, 0x802, vcpu=1)], [], HOLDS),
        # Out of x2APIC mode, then xAPIC again: the transition and all later accesses.
        (
            [base(WRITE, 0xFEE00100, ApicMode.X2APIC), base(WRITE, ENABLE, ApicMode.DISABLED), xapic(READ, 0x20)],
            [0, 2],
            VIOLATED,
        ),
        # A refused write does not leave the mode.
        ([base(WRITE, ENABLE, ApicMode.X2APIC, outcome=Outcome.GP), x2apic(READ, 0x802)], [], HOLDS),
        ([base(WRITE, ENABLE, ApicMode.X2APIC, outcome=Outcome.NOT_OBSERVED), x2apic(READ, 0x802)], [], HOLDS),
        # A reset of the vCPU: xAPIC mode again, without leaving x2APIC mode.
        ([x2apic(READ, 0x802), xapic(READ, 0x20)], [], HOLDS),
        ([x2apic(READ, 0x802, path=AccessPath.UNKNOWN)], [], INCONCLUSIVE),
        ([x2apic(READ, 0x802), xapic(READ, 0x20, mode=None, vcpu=None)], [1], VIOLATED),
        # Another vCPU's, by either path.
        (
            [base(WRITE, SWITCH, ApicMode.XAPIC), xapic(READ, 0x20, path=AccessPath.UNKNOWN, vcpu=None, mode=None)],
            [],
            INCONCLUSIVE,
        ),
        # Neither the mode before a write nor its outcome was seen.
        (
            [
                base(WRITE, SWITCH, None, outcome=Outcome.NOT_OBSERVED, vcpu=None),
                xapic(READ, 0x20, mode=None, vcpu=None),
            ],
            [],
            INCONCLUSIVE,
        ),
    ],
)
def test_no_xapic_after_x2apic(accesses: list[Access], offences: list[int], status: Status) -> None:
    result = check("no-xapic-after-x2apic", accesses)
    assert [access.index for access in result.offences] == offences
    assert result.status is status


# --- no-refused-access


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        (Outcome.OK, HOLDS),
        (Outcome.GP, VIOLATED),
        (Outcome.NOT_CLAIMED, VIOLATED),
        (Outcome.ERROR, VIOLATED),
        (Outcome.BUSY, INCONCLUSIVE),
        (Outcome.NOT_OBSERVED, INCONCLUSIVE),
    ],
)
def test_no_refused_access(outcome: Outcome, status: Status) -> None:
    result = check("no-refused-access", [x2apic(READ, 0x80F, outcome=outcome, served_by=Server.NOBODY)])
    assert result.status is status
    assert result.observable == (outcome is not Outcome.NOT_OBSERVED)


BUSY_EOI = x2apic(WRITE, 0x80B, path=AccessPath.SVSM, outcome=Outcome.BUSY, served_by=Server.SVSM)
EOI = dataclasses.replace(BUSY_EOI, outcome=Outcome.OK)


@pytest.mark.parametrize(
    ("accesses", "status"),
    [
        ([BUSY_EOI, EOI], HOLDS),
        ([BUSY_EOI, BUSY_EOI, EOI], HOLDS),
        ([BUSY_EOI, dataclasses.replace(EOI, vcpu=1), EOI], HOLDS),
        ([BUSY_EOI, dataclasses.replace(EOI, outcome=Outcome.ERROR)], VIOLATED),
        # Given up: something else follows, and the call was not made again.
        ([BUSY_EOI, x2apic(READ, 0x808)], VIOLATED),
        ([BUSY_EOI, dataclasses.replace(EOI, vcpu=1)], INCONCLUSIVE),
        ([EOI, BUSY_EOI], INCONCLUSIVE),
    ],
)
def test_a_call_that_is_made_again_until_it_is_served_is_not_refused(accesses: list[Access], status: Status) -> None:
    assert check("no-refused-access", accesses).status is status


def test_a_witness_that_sees_no_outcome_cannot_clear_the_firmware() -> None:
    result = check("no-refused-access", [], not_observed=frozenset({"outcome"}))
    assert (result.status, result.observable) == (INCONCLUSIVE, False)


# --- sec-apic-page-shared


def _violation(gpa: int, time_ns: int | None = 500, kind: str = "rmp-violation") -> Event:
    return Event(kind, time_ns, 0, "C=1 access to a shared page", {"gpa": gpa})


@pytest.mark.parametrize(
    ("event", "offends"),
    [
        (_violation(0xFEE00000), True),
        (_violation(0xFEE000F0 | 1 << 51), True),
        (_violation(0xFEE000F0 | 1 << 47), True),
        (_violation(0xFEE00000, kind="private-mmio"), True),
        (_violation(0xFEE00000, kind="private-mmio-end"), True),
        (_violation(0xFEE00000, time_ns=None), True),
        (_violation(0xFEE00000, time_ns=9000), False),  # PEI's
        (_violation(0xFEE01000), False),
        (_violation(0x1FEE00000), False),
        (_violation(0xFEE00000, kind="rmp-change"), False),
        (Event("rmp-violation", 1, 0, "", {"gpa": "fee00000"}), False),
    ],
)
def test_a_private_access_to_the_apic_page(event: Event, offends: bool) -> None:
    result = check("sec-apic-page-shared", [xapic(READ, 0xF0)], events=(event,))
    assert result.status is (VIOLATED if offends else HOLDS)
    assert result.events == ((event,) if offends else ())


def test_shared_accesses_are_counted() -> None:
    assert check("sec-apic-page-shared", samples.stock_sec()).reason == "7 MMIO accesses in SEC, all shared"
    assert check("sec-apic-page-shared", samples.fixed_sec()).reason == "no access by MMIO in SEC"


def test_a_witness_without_page_state() -> None:
    result = check("sec-apic-page-shared", samples.stock_sec(), not_observed=frozenset({"page-state"}))
    assert (result.status, result.observable) == (INCONCLUSIVE, False)
