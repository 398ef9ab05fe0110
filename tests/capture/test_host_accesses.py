# SPDX-License-Identifier: GPL-2.0-or-later
"""An access is what the processor did; an answer to it, whoever gives it, only completes it."""

from __future__ import annotations

from typing import Any

import pytest

from snp_harness.apic.access import Operation, Outcome, Path, Phase, Server
from snp_harness.apic.apic_base import ApicMode
from snp_harness.apic.registers import APIC_BASE
from snp_harness.apic.rules.apic_protocol_offered import ApicProtocolUsedOnlyWhenOffered
from snp_harness.apic.rules.no_refused_access import NoRefusedAccess
from snp_harness.apic.rules.no_xapic_after_x2apic import NoXapicAfterX2apic
from snp_harness.apic.rules.sec_apic_page_shared import SecApicPageShared
from snp_harness.apic.rules.x2apic_before_sec import X2ApicBeforeSec
from snp_harness.apic.verdict import Status
from snp_harness.capture import collect, condense
from snp_harness.capture.record import (
    ANSWERS_SHIFT,
    FLAG_WRITE,
    RecordEnd,
    RecordKind,
    RecordOutcome,
    RecordPath,
    RecordViolation,
)
from snp_harness.svsm.protocol import CALL_SHIFT, ApicCall, Protocol
from tests.capture.host_records import GUEST, PEI_BASE, SEC_BASE, X2APIC, XAPIC, Run

READ = Protocol.APIC << CALL_SHIFT | ApicCall.READ_REGISTER
WRITE = Protocol.APIC << CALL_SHIFT | ApicCall.WRITE_REGISTER


@pytest.fixture
def run() -> Run:
    return Run()


def test_an_access_and_its_answer_are_one_access(run: Run) -> None:
    number = run.begin(0xFEE000F0)
    run.answer(number, 0xFEE000F0, 0x1FF)
    [access] = run.timeline().accesses
    assert (access.value, access.size, access.outcome, access.served_by) == (0x1FF, 4, Outcome.OK, Server.HYPERVISOR)
    assert access.time_ns == number * 1000


def test_what_the_guest_answers_itself_is_an_access(run: Run) -> None:
    run.begin(0xFEE000F0, size=0)
    run.begin(0x80F, 0x1FF, write=True, size=8)
    run.code(SEC_BASE)
    run.code(PEI_BASE)
    timeline = run.timeline()
    assert [(a.register.name, a.path, a.value, a.size, a.phase) for a in timeline.accesses] == [
        ("SVR", Path.MMIO, None, None, Phase.SEC),
        ("SVR", Path.MSR, 0x1FF, 8, Phase.SEC),
    ]
    assert {(a.outcome, a.served_by, a.mode) for a in timeline.accesses} == {
        (Outcome.NOT_OBSERVED, Server.GUEST, ApicMode.XAPIC)
    }
    result = X2ApicBeforeSec().check(timeline)
    assert (result.status, len(result.offences)) == (Status.VIOLATED, 2)


def test_in_x2apic_mode_how_it_ended_is_not_known(run: Run) -> None:
    run.add(RecordKind.ALTERNATE, address=GUEST, value=1)
    run.begin(0x802, aux=X2APIC, size=8)
    run.code(SEC_BASE)
    run.code(PEI_BASE)
    timeline = run.timeline()
    assert X2ApicBeforeSec().check(timeline).status is Status.HOLDS
    result = NoRefusedAccess().check(timeline)
    assert (result.status, result.observable) == (Status.INCONCLUSIVE, True)
    assert result.reason == "1 local-APIC access answered by the guest's own #VC handler: how is not observed"


def test_a_write_of_apic_base_that_the_guest_answers_changes_no_mode(run: Run) -> None:
    run.begin(0x1B, 0xFEE00D00, write=True, size=8)
    run.apic(0xFEE000F0, 0, rip=PEI_BASE)
    timeline = run.timeline()
    assert timeline.accesses[0].register == APIC_BASE
    assert NoXapicAfterX2apic().check(timeline).status is Status.HOLDS


def test_handlers_nest(run: Run) -> None:
    """The handler of one access makes another, which is answered first."""
    outer = run.begin(0xFEE000F0)
    inner = run.begin(0xFEE00020)
    run.answer(inner, 0xFEE00020, 7)
    run.answer(outer, 0xFEE000F0, 0xFF)
    accesses = run.timeline().accesses
    assert [(a.register.name, a.value, a.served_by) for a in accesses] == [
        ("SVR", 0xFF, Server.HYPERVISOR),
        ("APIC ID", 7, Server.HYPERVISOR),
    ]


def test_a_second_answer_is_an_access_of_its_own(run: Run) -> None:
    """A read-modify-write, or a handler that asks twice."""
    number = run.begin(0xFEE000F0)
    run.answer(number, 0xFEE000F0, 0xFF)
    run.answer(number, 0xFEE000F0, 0x1FF, write=True)
    assert [(a.operation, a.value) for a in run.timeline().accesses] == [
        (Operation.READ, 0xFF),
        (Operation.WRITE, 0x1FF),
    ]


@pytest.mark.parametrize(
    "fields", [{"address": 0xFEE00020}, {"vcpu": 1}, {"mode": X2APIC}, {"vmpl": 1}], ids=lambda f: next(iter(f))
)
def test_an_answer_about_something_else_completes_nothing(run: Run, fields: dict[str, Any]) -> None:
    number = run.begin(0xFEE000F0)
    run.answer(number, **({"address": 0xFEE000F0, "value": 1} | fields))
    run.add(RecordKind.VMSA)
    assert run.timeline().accesses[0].served_by is Server.GUEST


def test_a_later_answer_cannot_move_an_access(run: Run) -> None:
    number = run.begin(0xFEE000F0)
    run.code(SEC_BASE)
    run.code(PEI_BASE)
    run.answer(number, 0xFEE000F0, 5, rip=PEI_BASE)
    [access] = run.timeline().accesses
    assert (access.phase, access.value, access.pc) == (Phase.SEC, 5, SEC_BASE + 0x3B52)


def test_the_svsm_answers(run: Run) -> None:
    number = run.begin(0x80B, 0, write=True, aux=X2APIC, size=8)
    run.add(RecordKind.SVSM_CALL, address=WRITE, value=0x80B)
    run.answer(number, 0x80B, 0, mode=X2APIC, path=RecordPath.SVSM, write=True)
    run.add(RecordKind.SVSM_RESULT, address=WRITE)
    timeline = run.timeline()
    [access] = timeline.accesses
    assert (access.path, access.served_by) == (Path.SVSM, Server.SVSM)
    assert access.time_ns == number * 1000 + 1000, "the time of the call"
    assert not timeline.events


@pytest.mark.parametrize("register", [0x1B, 0x900, 0, 1 << 40 | 0x802])
@pytest.mark.parametrize("call", [READ, WRITE])
def test_every_call_of_the_protocol_is_seen(run: Run, register: int, call: int) -> None:
    run.add(RecordKind.SVSM_CALL, address=call, value=register)
    run.apic(register, 0, path=RecordPath.SVSM, outcome=RecordOutcome.ERROR)
    run.add(RecordKind.SVSM_RESULT, address=call, value=0x80000001)
    timeline = run.timeline()
    assert timeline.accesses == ()
    [event] = timeline.events
    assert (event.kind, event.fields["rcx"], event.fields["result"]) == ("apic-protocol-call", register, 0x80000001)
    assert ApicProtocolUsedOnlyWhenOffered().check(timeline).status is Status.VIOLATED


def test_a_call_for_a_register_without_an_answer_is_seen(run: Run) -> None:
    run.add(RecordKind.SVSM_CALL, address=READ, value=0x802)
    run.host.take(b"")
    run.add(RecordKind.SVSM_CALL, address=READ, value=0x803)
    run.add(RecordKind.END, address=RecordEnd.SHUTDOWN)
    events = [event for event in run.timeline().events if event.kind == "apic-protocol-call"]
    assert [event.fields["rcx"] for event in events] == [0x802, 0x803]
    assert not any("result" in event.fields for event in events)


def test_an_access_to_apic_base_that_the_svsm_is_asked_for(run: Run) -> None:
    number = run.begin(0x1B, size=8)
    run.add(RecordKind.SVSM_CALL, address=READ, value=0x1B)
    run.answer(number, 0x1B, 0, path=RecordPath.SVSM, outcome=RecordOutcome.ERROR)
    [access] = run.timeline().accesses
    assert (access.path, access.served_by, access.outcome) == (Path.MSR, Server.SVSM, Outcome.ERROR)


def test_the_last_access_of_a_run_that_ends_is_not_the_guests(run: Run) -> None:
    run.begin(0xFEE000F0)
    run.begin(0xFEE00020)
    run.add(RecordKind.END, address=RecordEnd.PRIVATE_MMIO)
    assert [a.served_by for a in run.timeline().accesses] == [Server.GUEST, Server.NOT_OBSERVED]


def test_no_refusal_is_lost_when_accesses_are_condensed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(condense, "ACCESS_LIMIT", 4)
    monkeypatch.setattr(condense, "SORT_LIMIT", 2)
    for _ in range(20):
        number = run.begin(0x802, aux=X2APIC)
        run.begin(0x803, aux=X2APIC, vcpu=1)
        run.answer(number, 0x802, 0, mode=X2APIC)
    number = run.begin(0x802, aux=X2APIC)
    run.begin(0x803, aux=X2APIC, vcpu=1)
    run.answer(number, 0x802, 0, mode=X2APIC, outcome=RecordOutcome.GP)
    assert any(a.outcome is Outcome.GP for a in run.timeline().accesses)
    assert run.collector.count == 42


def test_a_write_of_the_base_is_answered(run: Run) -> None:
    number = run.begin(0x1B, 0xFEE00D00, write=True, size=8)
    run.add(
        RecordKind.APIC_BASE,
        address=0x1B,
        value=0xFEE00D00,
        extra=0xFEE00900,
        aux=XAPIC | number << ANSWERS_SHIFT,
        flags=FLAG_WRITE,
        size=8,
        path=RecordPath.MSR,
    )
    [access] = run.timeline().accesses
    assert (access.is_base, access.served_by, access.value) == (True, Server.HYPERVISOR, 0xFEE00D00)


@pytest.mark.parametrize("violation", [RecordViolation.MMIO, RecordViolation.SHARED])
def test_events_that_were_not_kept_count_as_lost_if_a_rule_needs_them(
    run: Run, monkeypatch: pytest.MonkeyPatch, violation: RecordViolation
) -> None:
    monkeypatch.setattr(collect, "EVENT_LIMIT", 3)
    for _ in range(3):
        run.add(RecordKind.RMP_VIOLATION, address=0x809000, aux=RecordViolation.NOT_VALIDATED, rip=SEC_BASE)
    run.add(RecordKind.RMP_VIOLATION, address=1 << 51 | 0xFEE000F0, aux=violation, rip=SEC_BASE)
    run.add(RecordKind.VMSA)
    run.code(SEC_BASE)
    run.code(PEI_BASE)
    timeline = run.timeline()
    assert (timeline.lost, timeline.gaps) == (1, ("2 events were not kept",))
    assert SecApicPageShared().check(timeline).status is Status.INCONCLUSIVE


def test_accesses_of_a_lower_vmpl_are_the_firmwares(run: Run) -> None:
    """Without an SVSM the firmware is at VMPL0 and can run code at VMPL1; nothing at VMPL2 is the SVSM's."""
    number = run.begin(0xFEE000F0, vmpl=3)
    run.answer(number, 0xFEE000F0, 0xFF, vmpl=3)
    run.begin(0xFEE00020, vmpl=1)
    [access] = run.timeline().accesses
    assert (access.vmpl, access.value) == (3, 0xFF)
