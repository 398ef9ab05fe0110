# SPDX-License-Identifier: GPL-2.0-or-later
"""The activity of a run on the emulated host, from its raw log: calls of the SVSM, VMPLs that run, and exits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from snp_harness.apic.activity import Activity, Sample, Span
from snp_harness.capture.exit_profile import EXIT_NAMES
from snp_harness.capture.record import RECORD, HostRecord, RecordKind
from snp_harness.svsm.protocol import call_name, result_name

#: Spans that are kept, and the least time between two samples.
SPANS_MAX = 500_000
SAMPLE_NS = 100_000
CALLS = "SVSM calls"
#: What records without the exits themselves show of them; with `log.level` 3 each exit has a record.
_REQUESTS = {
    RecordKind.NAE: "NAE event",
    RecordKind.GHCB_MSR: "GHCB MSR",
    RecordKind.MSR: "MSR",
    RecordKind.SVSM_CALL: "SVSM call",
    RecordKind.RMP_CHANGE: "RMP change",
    RecordKind.IO: "IO",
    RecordKind.MMIO: "MMIO",
}


def read_activity(batches: Iterable[bytes]) -> Activity:
    """Return what a log has. batches: of whole records. A call without an answer, and a damaged record, have none."""
    reader = _Reader()
    for batch in batches:
        for fields in RECORD.iter_unpack(batch):
            reader.take(HostRecord._make(fields))
    return reader.finish()


class _Reader:
    def __init__(self) -> None:
        self._spans: list[Span] = []
        self._calls: dict[int, HostRecord] = {}
        self._running: dict[int, HostRecord] = {}
        self._exits: Counter[str] = Counter()
        self._requests: Counter[str] = Counter()
        self._samples: list[tuple[int, Counter[str], Counter[str]]] = []
        self._time = 0

    def take(self, record: HostRecord) -> None:
        kind, time = record.kind, record.time_ns
        if not self._samples or time - self._samples[-1][0] >= SAMPLE_NS:
            self._samples.append((time, self._exits.copy(), self._requests.copy()))
        self._time = max(self._time, time)
        if kind == RecordKind.EXIT:
            self._exits[EXIT_NAMES.get(record.address, f"{record.address:X}")] += 1
        elif kind in _REQUESTS:
            self._requests[_REQUESTS[RecordKind(kind)]] += 1
        if kind == RecordKind.SVSM_CALL:
            self._calls[record.vcpu] = record
        elif kind == RecordKind.SVSM_RESULT and (call := self._calls.pop(record.vcpu, None)) is not None:
            detail = f"RCX {call.value:X}: {result_name(record.value)}"
            self._span(record.vcpu, CALLS, call_name(call.address), call.time_ns, time, detail)
        elif kind == RecordKind.VMPL_SWITCH:
            self._stop(record.vcpu, time)
            self._running[record.vcpu] = record

    def finish(self) -> Activity:
        for vcpu in list(self._running):
            self._stop(vcpu, self._time)
        exits = bool(self._exits)
        self._samples.append((self._time, self._exits, self._requests))
        return Activity(
            tuple(self._spans),
            "exits" if exits else "requests",
            tuple(Sample(time, counts if exits else requests) for time, counts, requests in self._samples),
        )

    def _stop(self, vcpu: int, time: int) -> None:
        if (begin := self._running.pop(vcpu, None)) is not None:
            self._span(vcpu, f"VMPL {begin.vmpl}", "runs", begin.time_ns, time, "")

    def _span(self, vcpu: int, track: str, name: str, begin: int, end: int, detail: str) -> None:
        if len(self._spans) < SPANS_MAX:
            self._spans.append(Span(vcpu, track, name, begin, max(begin, end), detail))
