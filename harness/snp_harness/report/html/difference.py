# SPDX-License-Identifier: GPL-2.0-or-later
"""The difference of two runs as a page."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from snp_harness.apic.access import Access
from snp_harness.apic.difference import Difference, Entry, Kind
from snp_harness.apic.timeline import Timeline
from snp_harness.report.difference import not_compared, same, summary
from snp_harness.report.html.elements import asset, badge, page, searched_table, section, table, text
from snp_harness.report.text import NAME_MAX, NOT_OBSERVED, access_cells, phase

#: Rows of the list, so that a page has less than 10 MB.
ROWS_MAX = 5_000


def render(difference: Difference, before: Timeline, after: Timeline, names: tuple[str, str]) -> str:
    """Return the page. names: of the two runs."""
    said = summary(difference)
    kind = "holds" if difference.empty and not difference.doubts else "inconclusive" if difference.empty else "violated"
    rows = list(_rows(difference))
    left = len(rows) - ROWS_MAX
    doubts = "".join(f'<p class="warning">{text(doubt, 200)}</p>' for doubt in difference.doubts)
    if sentence := not_compared(difference):
        doubts += f"<p>{text(sentence)}</p>"
    runs = [_run(title, name, run) for title, name, run in zip(("-", "+"), names, (before, after), strict=True)]
    compared = table(("sign", "run", "platform", "witness", "reached", "accesses"), runs, "Runs")
    headings = ("module, vCPU", "kind", "in the first run (-)", "in the second run (+)", "changed")
    accesses = table(headings, rows[:ROWS_MAX], "Accesses", "list")
    listed = searched_table("Kind", (each.value for each in Kind), accesses)
    more = f"<p>{left} more rows are not shown; <code>snp-harness diff</code> prints them.</p>" if left > 0 else ""
    body = (
        f'<header id="verdict" class="{kind}"><p><span class="status">{"same" if difference.empty else "different"}'
        f"</span></p><h1>{text(said)}</h1>{doubts}</header>\n"
        f"<main>\n{section('runs', 'Runs', compared)}{section('accesses', 'Accesses', listed + more)}</main>\n"
    )
    return page(f"{said}: snp-harness", body, (asset("index.js"),), (asset("report.css"),))


def _run(sign: str, name: str, timeline: Timeline) -> tuple[str, ...]:
    seen = "" if timeline.complete else ", not seen whole"
    return (
        sign,
        text(name),
        text(timeline.platform),
        text(timeline.witness),
        f"{text(phase(timeline.reached))}{seen}",
        str(len(timeline.accesses)),
    )


def _rows(difference: Difference) -> Iterator[tuple[str, ...]]:
    for group, entries in groupby(difference.entries, key=lambda entry: entry.group):
        vcpu, module = group
        where = f"{text(module or NOT_OBSERVED, NAME_MAX)}, {'?' if vcpu is None else vcpu}"
        for kind, run in groupby(entries, key=lambda entry: entry.kind):
            if kind is Kind.SAME:
                yield where, _kind(kind), same(len(list(run))), "", ""
            else:
                yield from (_row(where, entry) for entry in run)
    for kind, what, name in difference.marks:
        shown = text(f"{what} {name}", NAME_MAX)
        yield what, _kind(kind), *(("", shown) if kind is Kind.CAME else (shown, "")), ""


def _kind(kind: Kind) -> str:
    return badge(kind.value, kind.value)


def _row(where: str, entry: Entry) -> tuple[str, ...]:
    return where, _kind(entry.kind), _access(entry.before), _access(entry.after), text(", ".join(entry.fields))


def _access(access: Access | None) -> str:
    """An access in words, with its number; empty for none."""
    if access is None:
        return ""
    index, operation, register, value, _pc, place, _vcpu, vmpl, in_phase, path, mode, outcome, server = access_cells(
        access
    )
    seen = (in_phase, path, mode, f"VMPL {vmpl}", outcome, server)
    shown = ", ".join(part for part in seen if NOT_OBSERVED not in part)
    return (
        f"<code>{text(index)}: {text(operation)} {text(register)} = {text(value)}</code> {text(shown)}, {text(place)}"
    )
