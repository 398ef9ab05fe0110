# SPDX-License-Identifier: GPL-2.0-or-later
"""Host records of Alternate Injection as events."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snp_harness.apic.contract import evaluate
from snp_harness.apic.event_kinds import UNANSWERED_CALL
from snp_harness.apic.timeline import Event, Timeline
from snp_harness.capture import collect, condense
from snp_harness.capture.record import (
    FLAG_WRITE,
    RecordEnd,
    RecordIrqSource,
    RecordKind,
    RecordOutcome,
    RecordPath,
)
from snp_harness.svsm.protocol import ApicCall, CoreCall, Protocol, Result
from snp_harness.svsm.sev import SvsmTermination, TerminationSet
from tests.capture.host_records import GUEST, SVSM, X2APIC, Run

QUERY = Protocol.CORE << 32 | CoreCall.QUERY_PROTOCOL
ALL, ENABLE = 1 << 9, 1 << 8


def apic_call(call: ApicCall) -> int:
    return Protocol.APIC << 32 | call


class Calls(Run):
    """Calls of the SVSM with their answers, as the hypervisor records them."""

    def call(self, rax: int, rcx: int, result: int | None = 0, rcx_out: int = 0, **fields: int) -> None:
        self.add(RecordKind.SVSM_CALL, address=rax, value=rcx, **fields)
        if result is not None:
            aux = rcx & 0xFFFFFFFF
            self.add(RecordKind.SVSM_RESULT, address=rax, value=result, extra=rcx_out, aux=aux, **fields)

    def vector(self, kind: RecordKind, vector: int, source: int, **fields: int) -> None:
        self.add(kind, address=vector, value=source, **fields)

    def events(self, kind: str) -> list[Event]:
        return [event for event in self.timeline().events if event.kind == kind]


@pytest.fixture
def run() -> Calls:
    return Calls()


@pytest.mark.parametrize(
    ("result", "rcx_out", "offered"),
    [(0, 1 << 32 | 1, 1), (0, 0, 0), (Result.UNSUPPORTED_CALL, 1 << 32 | 1, 0)],
)
def test_the_answer_to_a_query_of_the_apic_protocol(run: Calls, result: int, rcx_out: int, offered: int) -> None:
    run.call(QUERY, Protocol.VTPM << 32 | 1, 0, 1 << 32 | 1)
    run.call(QUERY, Protocol.APIC << 32 | 1, result, rcx_out, vcpu=1)
    [event] = run.events("apic-protocol-query")
    assert (event.vcpu, event.fields["offered"], event.fields["version"]) == (1, offered, 1)
    assert ("does not offer" in event.text) == (not offered)


def test_other_calls_are_no_events(run: Calls) -> None:
    run.call(Protocol.CORE << 32 | CoreCall.PVALIDATE, 0x1000)
    run.call(apic_call(ApicCall.READ_REGISTER), 0x808)
    run.call(apic_call(ApicCall.WRITE_REGISTER), 0x80B)
    assert run.timeline().events == ()


@pytest.mark.parametrize(
    ("rcx", "first", "last", "allowed"),
    [
        (0x41 | ENABLE, 0x41, 0x41, 1),
        (0x41, 0x41, 0x41, 0),
        (ALL | ENABLE, 31, 255, 1),
        (ALL | 0x41, 31, 255, 0),
    ],
)
def test_the_vectors_of_configure_vector(run: Calls, rcx: int, first: int, last: int, allowed: int) -> None:
    run.call(apic_call(ApicCall.CONFIGURE_VECTOR), rcx)
    [event] = run.events("apic-protocol-call")
    assert [event.fields[name] for name in ("first_vector", "last_vector", "allowed")] == [first, last, allowed]
    assert event.text == f"apic CONFIGURE_VECTOR, RCX {rcx:X}: SUCCESS"
    assert event.fields["called_ns"] == (event.time_ns or 0) - 1000


def test_a_refused_call_and_one_without_an_answer(run: Calls) -> None:
    run.call(apic_call(ApicCall.CONFIGURE), 7, Result.INVALID_PARAMETER)
    run.call(apic_call(ApicCall.CONFIGURE), 2, None)
    run.call(apic_call(ApicCall.QUERY_FEATURES), 0, None, vcpu=1)
    run.add(RecordKind.END, address=RecordEnd.SHUTDOWN)
    refused, *unanswered = run.events("apic-protocol-call")
    assert refused.fields["result"] == Result.INVALID_PARAMETER
    assert refused.text == "apic CONFIGURE, RCX 7: INVALID_PARAMETER"
    assert [event.text for event in unanswered] == [
        "apic CONFIGURE, RCX 2: no answer",
        "apic QUERY_FEATURES, RCX 0: no answer",
    ]
    assert all("result" not in event.fields for event in unanswered)


def test_the_last_call_without_an_answer(run: Calls) -> None:
    run.call(apic_call(ApicCall.CONFIGURE), 2, None)
    run.call(Protocol.CORE << 32 | CoreCall.PVALIDATE, 0x1000)
    run.call(Protocol.CORE << 32 | CoreCall.CREATE_VCPU, 0x2000, None, vcpu=1)
    run.add(RecordKind.END, address=RecordEnd.SHUTDOWN)
    [event] = run.events(UNANSWERED_CALL)
    assert event.text == "core CREATE_VCPU, RCX 2000, RDX 0: no answer at the end of the run"
    assert (event.vcpu, event.fields["rax"], event.fields["rcx"]) == (1, CoreCall.CREATE_VCPU, 0x2000)


def test_an_answer_belongs_to_the_call_of_its_vcpu(run: Calls) -> None:
    run.call(apic_call(ApicCall.CONFIGURE), 2, None, vcpu=0)
    run.call(apic_call(ApicCall.CONFIGURE), 0, 0, vcpu=1)
    run.add(RecordKind.SVSM_RESULT, address=apic_call(ApicCall.QUERY_FEATURES), vcpu=0)
    run.add(RecordKind.SVSM_RESULT, address=apic_call(ApicCall.CONFIGURE), value=Result.BUSY, vcpu=0)
    events = run.events("apic-protocol-call")
    told = [(event.vcpu, event.fields["rcx"], event.fields["result"]) for event in events]
    assert told == [(1, 0, 0), (0, 2, Result.BUSY)]


def test_the_first_of_each_interrupt_is_kept_until_vectors_are_configured(run: Calls) -> None:
    for _ in range(3):
        for _ in range(5):
            run.vector(RecordKind.DOORBELL, 0x20, RecordIrqSource.TIMER, vmpl=0)
            run.vector(RecordKind.INTERRUPT, 0x20, RecordIrqSource.SVSM)
            run.vector(RecordKind.INTERRUPT, 0x21, RecordIrqSource.SVSM, vcpu=1)
        run.call(apic_call(ApicCall.CONFIGURE_VECTOR), 0x20 | ENABLE)
    timeline = run.timeline()
    seen = [(event.kind, event.vcpu) for event in timeline.events if "vector" in event.fields]
    again = [("doorbell", 0), ("interrupt", 0)]
    assert seen == [*again, ("interrupt", 1), *again, *again]
    assert timeline.complete


def test_an_interrupt_of_another_vmpl_is_none_of_the_guest(run: Calls) -> None:
    run.vector(RecordKind.INTERRUPT, 28, RecordIrqSource.TIMER, vmpl=0)
    assert run.timeline().events == ()


def test_what_is_said_of_an_interrupt(run: Calls) -> None:
    run.vector(RecordKind.DOORBELL, 0x68, RecordIrqSource.IOAPIC, size=1)
    run.vector(RecordKind.DOORBELL, 0x20, RecordIrqSource.TIMER, outcome=RecordOutcome.ERROR)
    run.vector(RecordKind.INTERRUPT, 0x20, 99)
    level, lost, unknown = run.timeline().events
    assert level.text == "vector 68 of ioapic, posted to the doorbell page"
    assert (level.fields["level"], level.fields["lost"]) == (1, 0)
    assert lost.text == "vector 20 of timer, lost by an injected fault"
    assert lost.fields["lost"] == 1
    assert unknown.text == "vector 20 of source 99, taken by the guest"


def test_begin_and_end_of_alternate_injection(run: Calls) -> None:
    run.add(RecordKind.ALTERNATE, address=2, value=1, extra=0xFEE00D00, aux=1, vmpl=0)
    run.add(RecordKind.ALTERNATE, address=2, value=0, extra=0xFEE00D00, vmpl=0)
    begin, end = run.events("alternate-injection")
    assert begin.text == (
        "Alternate Injection of VMPL2 begins; the hypervisor has changed APIC_BASE to FEE00D00 by itself"
    )
    assert end.text == "Alternate Injection of VMPL2 ends"
    assert [(event.fields["active"], event.fields["by_policy"]) for event in (begin, end)] == [(1, 1), (0, 0)]


@pytest.mark.parametrize(
    ("call", "vcpu", "asked"),
    [(ApicCall.CONFIGURE, 1, 1), (ApicCall.CONFIGURE, 0, 0), (ApicCall.QUERY_FEATURES, 1, 0)],
)
def test_who_wants_the_end_of_alternate_injection(run: Calls, call: ApicCall, vcpu: int, asked: int) -> None:
    run.call(apic_call(call), 0, None, vcpu=vcpu)
    run.add(RecordKind.ALTERNATE, address=2, value=0, vmpl=0, vcpu=1)
    [end] = run.events("alternate-injection")
    assert end.fields["asked"] == asked


def test_a_call_that_the_run_ends_in_has_no_answer(run: Calls) -> None:
    run.add(RecordKind.SVSM_CALL, address=apic_call(ApicCall.CONFIGURE_VECTOR), value=0x20 | ENABLE)
    run.host.finish()
    (call,) = run.events("apic-protocol-call")
    assert "result" not in call.fields


def test_another_vmpl_begins_and_ends_nothing_for_the_rules(run: Calls) -> None:
    run.add(RecordKind.ALTERNATE, address=2, value=1, vmpl=0)
    run.add(RecordKind.ALTERNATE, address=3, value=1, vmpl=2)
    run.add(RecordKind.ALTERNATE, address=3, value=0, vmpl=2)
    assert len(run.events("alternate-injection")) == 1
    assert len(run.events("other-vmpl-alternate-injection")) == 2


def test_the_rules_understand_these_events(run: Calls) -> None:
    rax = apic_call(ApicCall.CONFIGURE_VECTOR)
    run.call(QUERY, Protocol.APIC << 32 | 1, 0, 1 << 32 | 1)
    run.call(rax, 0x20 | ENABLE)
    run.vector(RecordKind.DOORBELL, 0x20, RecordIrqSource.TIMER)
    run.apic(0x83F, 0x33, write=True, path=RecordPath.SVSM, aux=X2APIC)
    run.vector(RecordKind.INTERRUPT, 0x33, RecordIrqSource.SVSM)
    verdict = evaluate(run.timeline(), as_if_active=True)
    assert verdict.result("no-unregistered-vector").reason == "1 interrupt vector used, all registered"
    assert verdict.result("apic-protocol-used-only-when-offered").reason == "2 calls, all after QUERY_PROTOCOL"
    run.vector(RecordKind.DOORBELL, 0x21, RecordIrqSource.IOAPIC)
    assert len(evaluate(run.timeline(), as_if_active=True).result("no-unregistered-vector").events) == 1


def test_the_vectors_that_are_sent_are_kept_when_accesses_are_condensed(
    run: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(condense, "ACCESS_LIMIT", 0)
    monkeypatch.setattr(condense, "SORT_LIMIT", 1)
    for vector in (0x40, 0x40, 0x41, 0x41):
        run.apic(0x83F, vector, write=True, path=RecordPath.SVSM, aux=X2APIC)
    assert [access.value for access in run.timeline().accesses] == [0x40, 0x41]


def test_an_svsm_with_a_timer_of_its_own_does_not_fill_the_timeline(run: Calls) -> None:
    for _ in range(collect.EVENT_LIMIT * 2):
        run.apic(0x80B, 0, vmpl=0, rip=SVSM, aux=X2APIC, write=True)
    timeline = run.timeline()
    assert timeline.complete
    assert [event.kind for event in timeline.events].count("other-vmpl-apic") == condense.SORT_LIMIT
    assert timeline.events[-1].fields["apic_accesses"] == 2 * collect.EVENT_LIMIT


def test_the_end_is_told_even_when_there_were_too_many_events(run: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collect, "EVENT_LIMIT", 3)
    for number in range(9):
        run.call(apic_call(ApicCall.CONFIGURE), number)
    run.add(RecordKind.END, address=RecordEnd.SHUTDOWN)
    timeline = run.timeline()
    assert [event.kind for event in timeline.events] == ["apic-protocol-call"] * 3 + ["guest-shutdown"]
    assert timeline.gaps == ("6 events were not kept",)


@pytest.mark.parametrize(
    ("vmpl", "reason_set", "reason", "lacks"),
    [
        (0, TerminationSet.SVSM, SvsmTermination.FEATURE, True),
        (0, TerminationSet.SVSM, 1, False),
        (0, TerminationSet.GENERAL, SvsmTermination.FEATURE, False),
        (GUEST, TerminationSet.SVSM, SvsmTermination.FEATURE, False),
    ],
)
def test_who_ended_the_run_for_want_of_a_feature(
    run: Calls, vmpl: int, reason_set: int, reason: int, lacks: bool
) -> None:
    run.add(RecordKind.END, address=RecordEnd.TERMINATE, value=reason_set, extra=reason, vmpl=vmpl)
    assert run.host.end is not None
    assert run.host.end.lacks_feature == lacks
    assert not run.host.end.hypervisor_failed


NUMBERS = st.integers(0, 0xFFFF) | st.sampled_from([QUERY, *map(apic_call, ApicCall), Protocol.APIC << 32 | 1])
KINDS = ("SVSM_CALL", "SVSM_RESULT", "DOORBELL", "INTERRUPT", "ALTERNATE", "APIC")
RECORDS = st.fixed_dictionaries(
    {
        "kind": st.sampled_from([RecordKind[name] for name in KINDS]),
        "address": NUMBERS | st.integers(0x800, 0x8FF),
        "value": NUMBERS,
        "extra": NUMBERS,
        "vcpu": st.integers(0, 2),
        "vmpl": st.sampled_from([0, GUEST]),
        "outcome": st.integers(0, 4),
        "path": st.integers(0, 4),
        "flags": st.sampled_from([0, FLAG_WRITE]),
        "aux": st.integers(0, 3),
    }
)


@given(st.lists(RECORDS, max_size=30))
def test_any_order_of_records_gives_a_timeline_that_is_judged(records: list[dict[str, int]]) -> None:
    run = Calls()
    for record in records:
        run.add(**record)
    timeline = run.timeline()
    assert Timeline.from_jsonl(timeline.to_jsonl()) == timeline
    assert evaluate(timeline).results
