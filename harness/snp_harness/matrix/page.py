# SPDX-License-Identifier: GPL-2.0-or-later
"""A matrix as a page, and beside it those of its runs and of what changed in them."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from snp_harness.apic.difference import difference
from snp_harness.apic.verdict import Status
from snp_harness.errors import EXIT_HOLDS, UsageError
from snp_harness.matrix.cell import Cell, Outcome
from snp_harness.matrix.forms import NOTE_MAX, facts
from snp_harness.matrix.result import Matrix
from snp_harness.recorded import load_report, load_timeline
from snp_harness.report.html import difference as difference_page
from snp_harness.report.html import render as render_report
from snp_harness.report.html.elements import (
    STATUS_CLASS,
    asset,
    badge,
    page,
    pairs,
    searched_table,
    section,
    table,
    text,
)
from snp_harness.version import build

INDEX = "index.html"
#: The directory of the pages, in that of the matrix.
PAGES = "pages"
_CLASSES = {
    Outcome.EXPECTED: "passed",
    Outcome.UNEXPECTED: "failed",
    Outcome.INCONCLUSIVE: "inconclusive",
    Outcome.NO_ANSWER: "failed",
}
_STATUSES = {status.value: kind for status, kind in STATUS_CLASS.items()}


def render_page(matrix: Matrix, linked: frozenset[str] = frozenset()) -> str:
    """Return the page. linked: the pages that are beside it."""
    fine = matrix.exit_status == EXIT_HOLDS
    headings = ("cell", "outcome", "verdict", "since the last", "reached", "accesses", "s")
    cells = table(headings, [_row(matrix, cell, linked) for cell in matrix.cells], "Cells", "list")
    used = [outcome.value for outcome in Outcome if matrix.of(outcome)]
    about = pairs([(name, text(value)) for name, value in facts(matrix)])
    said = matrix.counts
    first = f"<p>{text(matrix.first)}</p>" if matrix.first else ""
    body = (
        f'<header id="verdict" class="{STATUS_CLASS[Status.HOLDS if fine else Status.VIOLATED]}"><p>'
        f'<span class="status">{"passed" if fine else "failed"}</span></p><h1>{text(said)}</h1>{first}'
        f"<p>snp-harness {text(build().version)}</p></header>\n"
        f"<main>\n{section('cells', 'Cells', searched_table('Outcome', used, cells))}"
        f"{section('about', 'About', about)}</main>\n"
    )
    return page(f"{said}: snp-harness", body, (asset("index.js"),), (asset("report.css"),))


def _row(matrix: Matrix, cell: Cell, linked: frozenset[str]) -> tuple[str, ...]:
    change = matrix.changes.get(cell.place)
    since = ""
    if matrix.last is not None:
        what = "" if change is None else f"<div>{text(', '.join(change.sentences), NOTE_MAX)}</div>"
        since = _link(matrix.trend(cell).value, page_name(cell, "diff"), linked) + what
    verdict = badge(_STATUSES.get(cell.verdict, "failed"), cell.verdict)
    notes = [*cell.missed, *([cell.error] if cell.error else [])] or [cell.reason]
    return (
        text("/".join(cell.place.parts)),
        badge(_CLASSES[cell.outcome], cell.outcome.value),
        f"{_link(verdict, page_name(cell), linked)}<div>{text('; '.join(notes), NOTE_MAX)}</div>",
        since,
        text(cell.reached),
        str(cell.accesses),
        str(cell.seconds),
    )


def _link(shown: str, name: str, linked: frozenset[str]) -> str:
    return f'<a href="{text(name)}">{shown}</a>' if name in linked else shown


def page_name(cell: Cell, what: str = "run") -> str:
    """Return the path of a page of a cell, relative to the index."""
    return f"{PAGES}/{what}-{','.join(cell.place.parts)}.html"


def write_pages(matrix: Matrix, directory: Path) -> Path:
    """Write the page of the matrix and of its runs, and return the path of the first. Raises OSError."""
    (directory / PAGES).mkdir(exist_ok=True)
    linked = set()
    for cell in matrix.cells:
        out = directory / cell.place.directory
        # A run that has left nothing has no page.
        with contextlib.suppress(UsageError):
            (directory / page_name(cell)).write_text(render_report(load_report(out)), encoding="utf-8")
            linked.add(page_name(cell))
            change = matrix.changes.get(cell.place)
            if change is None or not change.accesses or matrix.last is None:
                continue
            runs: Sequence[Path] = (matrix.last / cell.place.directory, out)
            before, after = map(load_timeline, runs)
            names = str(runs[0]), str(runs[1])
            shown = difference_page.render(difference(before, after), before, after, names)
            (directory / page_name(cell, "diff")).write_text(shown, encoding="utf-8")
            linked.add(page_name(cell, "diff"))
    (directory / INDEX).write_text(render_page(matrix, frozenset(linked)), encoding="utf-8")
    return directory / INDEX
