# SPDX-License-Identifier: GPL-2.0-or-later
"""The report of a bisection: the commit, and what it changed in the timeline."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path

from snp_harness.apic.access import Access, Operation
from snp_harness.apic.registers import EOI
from snp_harness.apic.timeline import Timeline, TimelineError, bounded_lines
from snp_harness.bisect.bisection import Found
from snp_harness.edk2.source import Repository
from snp_harness.report.text import cpu, escape, number, phase, register
from snp_harness.vm.rundir import TIMELINE

_CONTEXT = 2
#: Lines shown; both timelines are in the run directories.
_SHOWN = 60


def report_lines(found: Found, repository: Repository) -> Iterator[str]:
    """Return the lines of the report."""
    if len(found.suspects) == 1:
        what = "the contract holds from" if found.fix else "first bad commit:"
        yield f"{what} {found.first.commit} {escape(found.first.subject)}"
    else:
        what = "the contract holds from one of these on" if found.fix else "the first bad commit is one of these"
        yield f"{what}; the others gave no answer:"
        for commit in found.suspects:
            yield f"  {commit[:12]} {escape(repository.subject(commit))}"
    yield f"  before  {found.before.line()}"
    yield f"  after   {found.first.line()}"
    yield f"  steps   {found.steps}, and the two ends"
    for step in found.skipped:
        yield f"  skipped {step.line()}"
    if found.skipped:
        yield "  to test what was skipped again, repeat the command with --retry-skipped"
    before, after = load_timeline(found.before.directory), load_timeline(found.first.directory)
    if before is None or after is None:
        yield "  the timelines are no longer there"
        return
    yield "Difference of the timelines"
    for line in difference(before, after) or ["none: the accesses are the same"]:
        yield f"  {line}"


def load_timeline(directory: str) -> Timeline | None:
    """Return the timeline of a step's run, None if its file no longer exists."""
    path = Path(directory, TIMELINE)
    if not directory:
        return None
    try:
        with path.open(encoding="utf-8", errors="replace") as stream:
            return Timeline.from_jsonl(bounded_lines(stream), str(path))
    except (OSError, TimelineError):
        return None


def difference(before: Timeline, after: Timeline) -> list[str]:
    """Return the difference of the accesses of two timelines, in unified format without headings.

    Values that every change of code moves (numbers, times, addresses) are not compared, nor are times and numbers of
    timer ticks: EOIs come last, each kind once, and reads of APIC_BASE once after each write.
    """
    lines = list(difflib.unified_diff(list(_lines(before)), list(_lines(after)), n=_CONTEXT, lineterm=""))[2:]
    more = len(lines) - _SHOWN
    return lines[:_SHOWN] + ([f"... and {more} lines more"] if more > 0 else [])


def _lines(timeline: Timeline) -> Iterator[str]:
    marks = list(timeline.phases[::-1])
    ticks: set[str] = set()
    read: set[str] = set()
    for position, access in enumerate(timeline.accesses):
        while marks and marks[-1].index <= position:
            yield f"-- {phase(marks.pop().phase)}"
        line = _line(access)
        # The phase of a timer tick is random, too.
        kind = line.partition(" ")[2]
        if access.register == EOI:
            ticks.add(kind)
        elif access.is_base and access.operation is Operation.READ:
            if kind not in read:
                read.add(kind)
                yield line
        else:
            if access.is_base:
                read.clear()
            yield line
    for mark in reversed(marks):
        yield f"-- {phase(mark.phase)}"
    yield from (f"at each tick: {kind}" for kind in sorted(ticks))
    for event in timeline.events:
        yield f"-- {escape(event.kind, 40)}"


def _line(access: Access) -> str:
    mode = "?" if access.mode is None else access.mode.value
    return (
        f"{phase(access.phase)} {escape(access.module or '?', 40)} vCPU/VMPL {cpu(access)}: {access.operation.value} "
        f"{register(access.register, access.path)} = {number(access.value)} "
        f"({access.path.value}, {mode}, {access.outcome.value})"
    )
