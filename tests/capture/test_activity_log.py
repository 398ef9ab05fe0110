# SPDX-License-Identifier: GPL-2.0-or-later
"""The activity between the accesses, as the raw log of the emulated host has it."""

from __future__ import annotations

from snp_harness.apic.activity import Activity, Span
from snp_harness.capture.activity_log import read_activity
from snp_harness.capture.record import RecordKind
from tests.launch.ring import make_record

CALL, RESULT, SWITCH = RecordKind.SVSM_CALL, RecordKind.SVSM_RESULT, RecordKind.VMPL_SWITCH


def read(*records: dict[str, int]) -> Activity:
    return read_activity([b"".join(make_record(number, **fields) for number, fields in enumerate(records, 1))])


def test_a_call_lasts_until_its_answer() -> None:
    activity = read(
        {"kind": CALL, "vcpu": 0, "vmpl": 2, "address": 3 << 32, "value": 0x10},
        {"kind": CALL, "vcpu": 1, "vmpl": 2, "address": 1},
        {"kind": RESULT, "vcpu": 1, "vmpl": 2, "address": 1, "value": 0x80000007},
        {"kind": RESULT, "vcpu": 0, "vmpl": 2, "address": 3 << 32},
    )
    first, second = activity.spans
    assert (first.vcpu, first.track, first.begin_ns, first.end_ns) == (1, "SVSM calls", 2000, 3000)
    assert "BUSY" in first.detail
    assert (second.vcpu, second.begin_ns, second.end_ns) == (0, 1000, 4000)


def test_a_call_without_an_answer_and_an_answer_without_a_call() -> None:
    assert read({"kind": RESULT}, {"kind": CALL, "address": 1}).spans == ()


def test_a_vmpl_runs_until_another_does() -> None:
    switch = {"kind": SWITCH, "vcpu": 0}
    activity = read(switch | {"vmpl": 0}, switch | {"vmpl": 2}, {"kind": SWITCH, "vcpu": 1, "vmpl": 2}, {"kind": CALL})
    assert activity.spans == (
        Span(0, "VMPL 0", "runs", 1000, 2000),
        Span(0, "VMPL 2", "runs", 2000, 4000),
        Span(1, "VMPL 2", "runs", 3000, 4000),
    )


def test_exits_are_counted_where_the_log_has_them() -> None:
    exits = [{"kind": RecordKind.EXIT, "address": 0x72, "time_ns": time} for time in (0, 1, 200_000, 400_000)]
    nae = {"kind": RecordKind.NAE, "time_ns": 500_000}
    activity = read(*exits, nae)
    assert activity.title == "exits"
    assert [(sample.time_ns, dict(sample.counts)) for sample in activity.samples] == [
        (0, {}),
        (200_000, {"CPUID": 2}),
        (400_000, {"CPUID": 3}),
        (500_000, {"CPUID": 4}),
        (500_000, {"CPUID": 4}),
    ]
    assert (read(nae).title, dict(read(nae).samples[-1].counts)) == ("requests", {"NAE event": 1})
