# SPDX-License-Identifier: GPL-2.0-or-later
"""The report of a bisection: the commit, and what it changed in the timeline."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

from snp_harness.apic.difference import difference
from snp_harness.apic.timeline import Timeline, TimelineError, bounded_lines
from snp_harness.bisect.bisection import Found
from snp_harness.defaults import PROGRAM
from snp_harness.edk2.source import Repository
from snp_harness.report.difference import lines, summary
from snp_harness.report.text import escape
from snp_harness.vm.rundir import TIMELINE

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
    changes = difference(before, after)
    yield f"Difference of the timelines: {summary(changes)}"
    shown = list(lines(changes))
    yield from (f"  {line}" for line in shown[:_SHOWN])
    if len(shown) > _SHOWN:
        command = shlex.join([PROGRAM, "diff", found.before.directory, found.first.directory])
        yield f"  ... and {len(shown) - _SHOWN} lines more: {command}"


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
