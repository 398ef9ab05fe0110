# SPDX-License-Identifier: GPL-2.0-or-later
"""Accesses that the end of a run cut off: it is not known who would have answered them, and nobody can pretend it."""

from __future__ import annotations

from typing import Any

import pytest

from snp_harness.apic.access import Outcome, Server
from snp_harness.apic.contract import evaluate
from snp_harness.apic.timeline import Timeline
from snp_harness.apic.verdict import Status
from snp_harness.capture.open_access import ANSWER_NS
from snp_harness.capture.record import RecordEnd, RecordKind, RecordPath
from snp_harness.svsm.protocol import APIC_CALLS, APIC_VECTOR_ENABLE, QUERY_PROTOCOL, ApicCall, Protocol
from tests.capture.host_records import GUEST, PEI_BASE, SEC_BASE, X2APIC, XAPIC, Run

READ, WRITE = APIC_CALLS[ApicCall.READ_REGISTER], APIC_CALLS[ApicCall.WRITE_REGISTER]
OFFER = Protocol.APIC << 32 | 1
VMGEXIT = b"\xf3\x0f\x01\xd9" + bytes(20)
REGISTER, PC, HANDLER = 0x80B, PEI_BASE + 0x60, PEI_BASE + 0x2040

#: What the hypervisor records between the #VC and the answer to a write of EOI; the fields of each.
WAY: tuple[tuple[int, dict[str, Any]], ...] = (
    (RecordKind.VC, {"address": 0x7C, "rip": PC}),
    (RecordKind.DOORBELL, {"address": 0x40}),
    (RecordKind.VMPL_SWITCH, {"vmpl": 0}),
    (RecordKind.APIC, {"address": 0x80B, "vmpl": 0, "path": RecordPath.MSR, "aux": X2APIC}),
    (RecordKind.VMPL_SWITCH, {}),
    (RecordKind.MODULE, {"address": PEI_BASE, "value": 0x8000 | 0x260 << 32, "rip": HANDLER}),
    (RecordKind.BYTES, {"rip": HANDLER, "size": 24, "address": int.from_bytes(VMGEXIT[:8], "little")}),
    (RecordKind.SVSM_CALL, {"address": QUERY_PROTOCOL, "value": OFFER}),
    (RecordKind.VMPL_SWITCH, {"vmpl": 0}),
    (RecordKind.SVSM_RESULT, {"address": QUERY_PROTOCOL, "extra": OFFER}),
    (RecordKind.VMPL_SWITCH, {}),
    (RecordKind.SVSM_CALL, {"address": WRITE, "value": REGISTER}),
    (RecordKind.VMPL_SWITCH, {"vmpl": 0}),
)
ACTIVITIES: dict[str, tuple[int, dict[str, Any]]] = {
    "another access": (RecordKind.ACCESS, {"address": 0x802, "aux": X2APIC, "path": RecordPath.MSR, "rip": PC}),
    "an answer to nothing": (RecordKind.APIC, {"address": 0x802, "aux": X2APIC, "path": RecordPath.MSR}),
    "other code": (RecordKind.BYTES, {"rip": HANDLER + 0x100, "size": 24, "address": 0xA20F}),
    "the #VC of another instruction": (RecordKind.VC, {"address": 0x72, "rip": PC + 4}),
    "an RMP violation": (RecordKind.RMP_VIOLATION, {"address": 0x809000, "rip": PC + 4}),
    "another MSR": (RecordKind.MSR, {"address": 0x10}),
    "an NAE event": (RecordKind.NAE, {"address": 0x72}),
    "port I/O": (RecordKind.IO, {"address": 0x80}),
    "MMIO": (RecordKind.MMIO, {"address": 0xFED00000}),
    "the GHCB's MSR": (RecordKind.GHCB_MSR, {"address": 1}),
    "a change of the RMP": (RecordKind.RMP_CHANGE, {"address": 0x809000}),
    "AP creation": (RecordKind.VMSA, {}),
    "an interrupt": (RecordKind.INTERRUPT, {"address": 0x40}),
    "the call for another register": (RecordKind.SVSM_CALL, {"address": WRITE, "value": 0x808}),
    "the call in the other direction": (RecordKind.SVSM_CALL, {"address": READ, "value": REGISTER}),
    "another call": (RecordKind.SVSM_CALL, {"address": APIC_CALLS[ApicCall.CONFIGURE_VECTOR]}),
    "another call's answer": (RecordKind.SVSM_RESULT, {"address": WRITE}),
    "the guest's exit": (RecordKind.END, {"address": RecordEnd.DEBUG_EXIT}),
}


def begun(mode: int = X2APIC) -> tuple[Run, int]:
    """A firmware that keeps the contract up to an access in PEI, and that access's number."""
    run = Run()
    run.add(RecordKind.ALTERNATE, address=GUEST, value=1)
    run.code(SEC_BASE)
    number = run.begin(0x1B, 0xFEE00D00, write=True, size=8)
    run.answer(number, 0x1B, 0xFEE00D00, write=True)
    run.add(RecordKind.SVSM_CALL, address=QUERY_PROTOCOL, value=OFFER)
    run.add(RecordKind.SVSM_RESULT, address=QUERY_PROTOCOL, extra=OFFER)
    configure = APIC_CALLS[ApicCall.CONFIGURE_VECTOR]
    run.add(RecordKind.SVSM_CALL, address=configure, value=APIC_VECTOR_ENABLE | 0x40)
    run.add(RecordKind.SVSM_RESULT, address=configure)
    return run, run.begin(REGISTER, 0, write=True, aux=mode, size=8, rip=PC)


def follow(run: Run, records: tuple[tuple[int, dict[str, Any]], ...]) -> None:
    for kind, fields in records:
        run.add(kind, **fields)


def last(timeline: Timeline) -> tuple[Outcome, Server]:
    return timeline.accesses[1].outcome, timeline.accesses[1].served_by


@pytest.mark.parametrize("cut", range(len(WAY) + 1))
def test_a_run_that_ends_before_the_answer(cut: int) -> None:
    run, _ = begun()
    follow(run, WAY[:cut])
    timeline = run.timeline()
    assert last(timeline) == (Outcome.NOT_OBSERVED, Server.NOT_OBSERVED)
    verdict = evaluate(timeline)
    assert verdict.status is Status.HOLDS
    [rule] = [rule for rule in verdict.results if rule.rule == "no-refused-access"]
    assert (rule.observable, rule.reason) == (False, "the run ended before the answer to 1 local-APIC access")


def test_the_answer_completes_it() -> None:
    run, number = begun()
    follow(run, WAY)
    run.answer(number, REGISTER, 0, mode=X2APIC, write=True, path=RecordPath.SVSM, rip=PC)
    timeline = run.timeline()
    assert last(timeline) == (Outcome.OK, Server.SVSM)
    assert evaluate(timeline).status is Status.HOLDS


@pytest.mark.parametrize("cut", range(len(WAY) + 1))
def test_outside_x2apic_mode_it_stays_an_offence(cut: int) -> None:
    run, _ = begun(XAPIC)
    follow(run, WAY[:cut])
    assert evaluate(run.timeline()).status is Status.VIOLATED


@pytest.mark.parametrize("cut", [0, 1, 7, len(WAY)])
@pytest.mark.parametrize("activity", ACTIVITIES)
def test_a_guest_that_goes_on_has_answered_it_itself(cut: int, activity: str) -> None:
    run, _ = begun()
    follow(run, (*WAY[:cut], ACTIVITIES[activity]))
    timeline = run.timeline()
    assert last(timeline) == (Outcome.NOT_OBSERVED, Server.GUEST)
    assert evaluate(timeline).status in (Status.INCONCLUSIVE, Status.VIOLATED)


@pytest.mark.parametrize("step", range(5, len(WAY)))
def test_the_way_is_gone_once(step: int) -> None:
    """A request that is made again without an answer, one after the other was made: the guest does something else."""
    run, _ = begun()
    follow(run, (*WAY, WAY[step]))
    once = WAY[step][0] in (RecordKind.SVSM_CALL, RecordKind.SVSM_RESULT)
    assert last(run.timeline())[1] is (Server.GUEST if once else Server.NOT_OBSERVED)


@pytest.mark.parametrize("cut", range(len(WAY) + 1))
def test_another_vcpu_goes_on(cut: int) -> None:
    run, _ = begun()
    follow(run, WAY[:cut])
    for kind, fields in ACTIVITIES.values():
        run.add(kind, vcpu=1, **fields)
    assert last(run.timeline())[1] is Server.NOT_OBSERVED


@pytest.mark.parametrize(("later_ns", "server"), [(ANSWER_NS, Server.NOT_OBSERVED), (ANSWER_NS + 1, Server.GUEST)])
@pytest.mark.parametrize("quiet", [False, True], ids=["others' records", "no records"])
def test_an_access_that_is_open_for_long(later_ns: int, server: Server, quiet: bool) -> None:
    run, number = begun()
    if not quiet:
        run.add(RecordKind.VMSA, vcpu=1, time_ns=number * 1000 + later_ns)
    assert last(run.timeline(quiet_ns=later_ns if quiet else 0))[1] is server


@pytest.mark.parametrize("end", [end for end in RecordEnd if end is not RecordEnd.DEBUG_EXIT])
def test_an_end_that_cuts_it_off(end: RecordEnd) -> None:
    run, _ = begun()
    run.add(RecordKind.END, address=end)
    assert last(run.timeline())[1] is Server.NOT_OBSERVED


def test_what_the_guest_answered_before_is_not_covered() -> None:
    run, _ = begun()
    run.begin(REGISTER, 0, write=True, aux=X2APIC, size=8, rip=PC)
    timeline = run.timeline()
    assert [access.served_by for access in timeline.accesses[1:]] == [Server.GUEST, Server.NOT_OBSERVED]
    verdict = evaluate(timeline)
    assert verdict.status is Status.INCONCLUSIVE
    [rule] = [rule for rule in verdict.results if rule.rule == "no-refused-access"]
    assert rule.reason == "1 local-APIC access answered by the guest's own #VC handler: how is not observed"


def test_a_read_is_asked_for_by_a_read() -> None:
    run, number = begun()
    run.answer(number, REGISTER, 0, mode=X2APIC, write=True, path=RecordPath.SVSM, rip=PC)
    run.begin(0x802, aux=X2APIC, size=8, rip=PC)
    run.add(RecordKind.SVSM_CALL, address=READ, value=0x802)
    assert run.timeline().accesses[2].served_by is Server.NOT_OBSERVED
