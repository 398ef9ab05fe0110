# SPDX-License-Identifier: GPL-2.0-or-later
"""The stages of an SVSM's start and what it did in the whole run, from records."""

from __future__ import annotations

import pytest

from snp_harness.apic.timeline import Event, Timeline
from snp_harness.capture.collect import Collector
from snp_harness.capture.host_timeline import HostTimeline
from snp_harness.capture.record import FLAG_EFER_LMA, RecordKind, RecordOutcome, RecordPath, RecordRmpOp
from snp_harness.svsm.protocol import CALL_SHIFT, Protocol
from tests.capture.host_records import FIRMWARE, GUEST, SEC_BASE, X2APIC, Run

LOADER, KERNEL = 0x10002, 0xFFFFFF8000001234
LONG = FLAG_EFER_LMA


@pytest.fixture
def run() -> Run:
    return Run()


def stages(timeline: Timeline) -> list[tuple[object, object, object]]:
    events = [event for event in timeline.events if event.kind == "svsm-stage"]
    return [(event.fields["stage"], event.fields["known"], event.fields["pc"]) for event in events]


def activity(timeline: Timeline) -> Event:
    return timeline.events[-1]


def test_a_loader_then_a_kernel_then_the_guest(run: Run) -> None:
    assert run.collector.svsm_stage == ""
    run.add(RecordKind.GHCB_MSR, rip=LOADER, vmpl=0, address=0x80)
    assert run.collector.svsm_stage == "stage 2"
    run.add(RecordKind.GHCB_MSR, rip=LOADER, vmpl=0, flags=LONG, address=0x80)
    run.add(RecordKind.GHCB_MSR, rip=KERNEL, vmpl=0, flags=LONG, address=0x80)
    assert run.collector.svsm_stage == "kernel entered"
    run.code(SEC_BASE)
    run.add(RecordKind.GHCB_MSR, rip=KERNEL, vmpl=0, flags=LONG, address=0x80)
    assert run.collector.svsm_stage == ""
    assert stages(run.timeline()) == [
        ("stage 2", "inferred", LOADER),
        ("kernel entered", "inferred", KERNEL),
        ("guest started", "proven", SEC_BASE),
    ]


def test_code_at_low_addresses_in_long_mode_may_be_either(run: Run) -> None:
    run.add(RecordKind.GHCB_MSR, rip=0x5000001000, vmpl=0, flags=LONG, address=2)
    assert stages(run.timeline()) == [("started", "inferred", 0x5000001000)]


def test_symbols_locate_the_kernel_and_name_its_pcs() -> None:
    run = Run()
    run.host = HostTimeline(FIRMWARE, GUEST, run.collector, lambda pc: "start+4" if pc == KERNEL else None)
    run.add(RecordKind.GHCB_MSR, rip=KERNEL, vmpl=0, flags=LONG, address=0x80)
    assert run.host.describe(KERNEL) == f"{KERNEL:X} (start+4)"
    run.apic(0x80B, 0, vmpl=0, aux=X2APIC, write=True, rip=KERNEL)
    timeline = run.timeline()
    assert stages(timeline) == [("kernel entered", "located", KERNEL)]
    assert timeline.events[1].text.endswith(f"at {KERNEL:X} (start+4)")


def test_what_says_nothing_about_execution_begins_no_stage(run: Run) -> None:
    run.add(RecordKind.STATS, vmpl=0, rip=KERNEL)
    run.add(RecordKind.ALTERNATE, vmpl=0)
    assert stages(run.timeline()) == []


def test_without_an_svsm_nothing_is_said_of_one() -> None:
    run = Run()
    run.host = HostTimeline(FIRMWARE, 0, Collector())
    run.add(RecordKind.GHCB_MSR, rip=KERNEL, vmpl=0, address=0x80)
    assert run.timeline().events == ()


def test_what_the_svsm_did_is_counted(run: Run) -> None:
    run.add(RecordKind.GHCB_MSR, rip=KERNEL, vmpl=0, address=0x80)
    for operation in (RecordRmpOp.PVALIDATE, RecordRmpOp.RMPADJUST, RecordRmpOp.RMPADJUST, RecordRmpOp.PSC_SHARED):
        run.add(RecordKind.RMP_CHANGE, rip=KERNEL, vmpl=0, aux=operation)
    run.add(RecordKind.RMP_CHANGE, rip=KERNEL, vmpl=0, aux=RecordRmpOp.PVALIDATE, outcome=RecordOutcome.ERROR)
    run.add(RecordKind.RMP_CHANGE, rip=SEC_BASE, vmpl=GUEST, aux=RecordRmpOp.PVALIDATE)
    run.add(RecordKind.NAE, rip=KERNEL, vmpl=0)
    run.add(RecordKind.APIC, rip=KERNEL, vmpl=0, address=0x80B, path=RecordPath.MSR)
    for call, result in ((Protocol.APIC << CALL_SHIFT, 0), (Protocol.CORE << CALL_SHIFT | 1, 0x80000003)):
        run.add(RecordKind.SVSM_CALL, address=call)
        run.add(RecordKind.SVSM_RESULT, address=call, value=result)
    assert activity(run.timeline()).fields == {
        "calls": 2,
        "apic_calls": 1,
        "refused_calls": 1,
        "apic_accesses": 1,
        "pvalidates": 1,
        "rmpadjusts": 2,
        "page_state_changes": 1,
        "requests": 2,
    }


def test_what_the_log_s_level_leaves_out_is_not_observed(run: Run) -> None:
    run.add(RecordKind.APIC, rip=KERNEL, vmpl=0, address=0x80B, path=RecordPath.MSR)
    event = activity(run.timeline())
    assert "pvalidates" not in event.fields
    assert event.text.endswith("not observed (log.level 0)")


def test_a_time_out_of_range_does_not_make_the_timeline_unreadable(run: Run) -> None:
    run.add(RecordKind.GHCB_MSR, rip=KERNEL, vmpl=0, flags=LONG, time_ns=(1 << 64) - 1)
    timeline = run.timeline()
    assert stages(timeline) == [("kernel entered", "inferred", KERNEL)]
    assert Timeline.from_jsonl(timeline.to_jsonl()) == timeline
