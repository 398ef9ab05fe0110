# SPDX-License-Identifier: GPL-2.0-or-later
"""A timeline as small JSON for the page's script: what differs in each access, and tables of what repeats."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from snp_harness.apic.access import Access, Outcome, Path, Server
from snp_harness.report.html.consoles import ConsoleText
from snp_harness.report.model import Report
from snp_harness.report.text import access_cells, escape, number, phase

#: Bounds, so that a page has less than 10 MB: accesses, kinds of them, values, events, characters of a text,
#: lines of each console, and their characters.
ACCESSES_MAX = 200_000
KINDS_MAX = 5_000
VALUES_MAX = 50_000
EVENTS_MAX = 1_500
TEXT_MAX = 200
LINES_MAX = 2_000
_LINE_MAX = 120
#: The paths of accesses in the order of the chart's rows, by which they are filtered.
CATEGORIES = (
    "APIC_BASE",
    "xAPIC page (MMIO)",
    "x2APIC MSR, hypervisor",
    "x2APIC MSR, SVSM",
    "x2APIC MSR, other",
    "SVSM call",
    "path not observed",
    "refused",
)


def category(access: Access) -> int:
    """Return the number of an access's path in CATEGORIES."""
    if access.outcome in (Outcome.GP, Outcome.ERROR, Outcome.NOT_CLAIMED):
        name = "refused"
    elif access.is_base:
        name = "APIC_BASE"
    elif access.path is Path.MMIO:
        name = "xAPIC page (MMIO)"
    elif access.path is Path.SVSM:
        name = "SVSM call"
    elif access.path is Path.MSR:
        by = {Server.HYPERVISOR: "hypervisor", Server.SVSM: "SVSM"}.get(access.served_by, "other")
        name = f"x2APIC MSR, {by}"
    else:
        name = "path not observed"
    return CATEGORIES.index(name)


class _Table:
    """Values by number, in the order of their first use. make: their form in JSON."""

    def __init__(self, make: Callable[[Any], Any]) -> None:
        self.rows: list[Any] = []
        self._make = make
        self._numbers: dict[Any, int] = {}

    def number(self, key: Any, source: Any) -> int:
        found = self._numbers.get(key)
        if found is None:
            found = self._numbers[key] = len(self.rows)
            self.rows.append(self._make(source))
        return found


def pack(report: Report, consoles: Sequence[ConsoleText] = ()) -> dict[str, Any]:
    """Return what the page's script shows of a timeline. "left" has how many accesses are not in it."""
    timeline = report.timeline

    def kind_row(access: Access) -> list[Any]:
        cells = access_cells(access)
        source = report.source(access)
        # The number and the value differ in each access.
        return [category(access), access.vcpu, *cells[1:3], *cells[4:], "" if source is None else escape(str(source))]

    kinds = _Table(kind_row)
    values = _Table(str)
    numbers: list[int] = []
    times: list[int] = []
    value_numbers: list[int] = []
    timed = all(access.time_ns is not None for access in timeline.accesses)
    last = 0
    for access in timeline.accesses[:ACCESSES_MAX]:
        if len(kinds.rows) >= KINDS_MAX or len(values.rows) >= VALUES_MAX:
            break
        key = (
            access.operation,
            access.register.msr,
            access.register.offset,
            access.path,
            access.mode,
            access.outcome,
            access.served_by,
            access.vcpu,
            access.vmpl,
            access.phase,
            access.pc,
            access.module,
            access.module_offset,
        )
        numbers.append(kinds.number(key, access))
        value = number(access.value)
        value_numbers.append(values.number(value, value))
        if timed and access.time_ns is not None:
            times.append(access.time_ns - last)
            last = access.time_ns
    shown = len(numbers)
    offences = {access.index for result in report.verdict.results for access in result.offences}
    return {
        "categories": CATEGORIES,
        "kinds": kinds.rows,
        "values": values.rows,
        "kind": numbers,
        "value": value_numbers,
        "time": times if timed else None,
        "left": len(timeline.accesses) - shown,
        "offences": sorted(index for index in offences if index < shown),
        "phases": [
            [phase(mark.phase), mark.known.value, escape(mark.evidence, TEXT_MAX), mark.time_ns, mark.index]
            for mark in timeline.phases[:EVENTS_MAX]
        ],
        "events": [
            [escape(event.kind, 40), event.time_ns, event.vcpu, escape(event.text, TEXT_MAX)]
            for event in timeline.events[:EVENTS_MAX]
        ],
        "lines": list(_lines(consoles)),
    }


def _lines(consoles: Sequence[ConsoleText]) -> Iterator[list[Any]]:
    """The lines of consoles that have a time, with the links to them."""
    for console in consoles:
        timed = [line for line in console.lines if line.time_ns is not None and line.text]
        for line in timed[:LINES_MAX]:
            link = f"{console.name}-{line.number}"
            yield [console.title, line.time_ns, link, line.severity.value, escape(line.text, _LINE_MAX)]
