# SPDX-License-Identifier: GPL-2.0-or-later
"""The report as a trace for ui.perfetto.dev and chrome://tracing, in Chrome's JSON trace format.

Phases, vCPUs with their VMPLs, and calls of the SVSM are tracks; accesses and events are instants on them; accesses by
path, and exits, are counters. Times are microseconds, as the format wants, with the nanoseconds as a fraction.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from snp_harness.apic.access import Access
from snp_harness.apic.timeline import Timeline
from snp_harness.report.model import Report
from snp_harness.report.text import escape, number, phase, place, register, server
from snp_harness.version import build

#: Numbers of the processes, which are groups of tracks: the boot, and each vCPU.
_BOOT, _VCPU = 1, 100
#: Threads of a process: the events, then VMPLs, then what the spans are part of.
_EVENTS, _VMPL, _SPANS = 1, 10, 20
_REFUSED = "refused"
_TEXT_MAX = 200

_Entry = dict[str, Any]


def render(report: Report) -> str:
    """Return the trace. An access whose time was not observed has that of the one before it."""
    trace = {
        "displayTimeUnit": "ns",
        "otherData": {"summary": report.headline, "harness": build().version, "witness": report.timeline.witness},
        "traceEvents": list(_entries(report)),
    }
    return json.dumps(trace, separators=(",", ":")) + "\n"


def _entries(report: Report) -> Iterator[_Entry]:
    tracks = _Tracks()
    found = [*_phases(report.timeline), *_accesses(report.timeline, tracks), *_events(report.timeline, tracks)]
    found += _activity(report, tracks)
    yield from tracks.names()
    yield from sorted(found, key=lambda entry: (entry["ts"], -entry.get("dur", 0)))


class _Tracks:
    """The tracks that are used, by process and thread, with their names."""

    def __init__(self) -> None:
        self._threads = {(_BOOT, _EVENTS): "phases", (_BOOT, _EVENTS + 1): "events"}
        self._others: dict[str, int] = {}

    def vmpl(self, vcpu: int | None, vmpl: int | None) -> tuple[int, int]:
        """Return the track of a VMPL; of one that was not observed, the one of that name."""
        key = (_VCPU + (-1 if vcpu is None else vcpu), _VMPL + (-1 if vmpl is None else vmpl))
        self._threads[key] = "VMPL not observed" if vmpl is None else f"VMPL {vmpl}"
        return key

    def span(self, vcpu: int, name: str) -> tuple[int, int]:
        """Return the track of spans."""
        key = (_VCPU + vcpu, _SPANS + self._others.setdefault(name, len(self._others)))
        self._threads[key] = name
        return key

    def names(self) -> Iterator[_Entry]:
        """Yield what names the tracks."""
        for pid in sorted({pid for pid, _ in self._threads}):
            name = "boot" if pid == _BOOT else "vCPU not observed" if pid < _VCPU else f"vCPU {pid - _VCPU}"
            yield {"ph": "M", "name": "process_name", "pid": pid, "tid": 0, "args": {"name": name}}
        for (pid, tid), name in sorted(self._threads.items()):
            yield {"ph": "M", "name": "thread_name", "pid": pid, "tid": tid, "args": {"name": name}}


def _phases(timeline: Timeline) -> Iterator[_Entry]:
    times = [mark.time_ns or 0 for mark in timeline.phases]
    seen = (entry.time_ns or 0 for entries in (timeline.accesses[-1:], timeline.events) for entry in entries)
    ends = [*times[1:], max([*times, *seen], default=0)]
    for mark, begin, end in zip(timeline.phases, times, ends, strict=False):
        args = {"known": mark.known.value, "evidence": escape(mark.evidence, _TEXT_MAX)}
        yield _slice((_BOOT, _EVENTS), phase(mark.phase), "phase", begin, end, args)


def _accesses(timeline: Timeline, tracks: _Tracks) -> Iterator[_Entry]:
    time = 0
    counts: dict[str, int] = {}
    for access in timeline.accesses:
        time = time if access.time_ns is None else access.time_ns
        name = f"{access.operation.value} {register(access.register, access.path)}"
        yield _instant(tracks.vmpl(access.vcpu, access.vmpl), name, access.path.value, time, _details(access))
        kind = _REFUSED if server(access).startswith(_REFUSED) else access.path.value
        counts[kind] = counts.get(kind, 0) + 1
        yield _counter("APIC accesses", time, counts)


def _details(access: Access) -> dict[str, Any]:
    return {
        "index": access.index,
        "value": number(access.value),
        "pc": number(access.pc),
        "place": place(access),
        "phase": phase(access.phase),
        "mode": "not observed" if access.mode is None else access.mode.value,
        "outcome": access.outcome.value,
        "served by": server(access),
    }


def _events(timeline: Timeline, tracks: _Tracks) -> Iterator[_Entry]:
    time = 0
    for event in timeline.events:
        time = time if event.time_ns is None else event.time_ns
        track = (_BOOT, _EVENTS + 1) if event.vcpu is None else tracks.span(event.vcpu, "events")
        yield _instant(track, escape(event.kind, 40), "event", time, {"text": escape(event.text, _TEXT_MAX)})


def _activity(report: Report, tracks: _Tracks) -> Iterator[_Entry]:
    activity = report.activity()
    if activity is None:
        return
    for span in activity.spans:
        track = tracks.span(span.vcpu, span.track)
        yield _slice(track, span.name, span.track, span.begin_ns, span.end_ns, {"detail": span.detail})
    for sample in activity.samples:
        if sample.counts:
            yield _counter(activity.title, sample.time_ns, sample.counts)


def _slice(track: tuple[int, int], name: str, kind: str, begin: int, end: int, args: dict[str, Any]) -> _Entry:
    pid, tid = track
    duration = max(0, end - begin) / 1000
    return {
        "ph": "X",
        "name": name,
        "cat": kind,
        "pid": pid,
        "tid": tid,
        "ts": begin / 1000,
        "dur": duration,
        "args": args,
    }


def _instant(track: tuple[int, int], name: str, kind: str, time: int, args: dict[str, Any]) -> _Entry:
    pid, tid = track
    return {"ph": "i", "s": "t", "name": name, "cat": kind, "pid": pid, "tid": tid, "ts": time / 1000, "args": args}


def _counter(name: str, time: int, counts: Any) -> _Entry:
    return {"ph": "C", "name": name, "pid": _BOOT, "tid": 0, "ts": time / 1000, "args": dict(counts)}
