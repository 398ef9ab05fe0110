# SPDX-License-Identifier: GPL-2.0-or-later
"""A matrix as text, JSON, Markdown and JUnit XML; as a page: page.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from snp_harness.apic.verdict import Status
from snp_harness.errors import EXIT_HOLDS, EXIT_INCONCLUSIVE
from snp_harness.matrix.cell import Cell, Outcome
from snp_harness.matrix.compare import Trend
from snp_harness.matrix.result import Matrix
from snp_harness.report import github
from snp_harness.report.junit_xml import Case, CaseResult, document
from snp_harness.report.markdown import escaped, row
from snp_harness.report.text import columns, escape

#: Characters of a note.
NOTE_MAX = 300
_CASES = {
    Outcome.EXPECTED: CaseResult.PASSED,
    Outcome.UNEXPECTED: CaseResult.FAILED,
    Outcome.INCONCLUSIVE: CaseResult.ERROR,
    Outcome.NO_ANSWER: CaseResult.ERROR,
}


def render(matrix: Matrix, name: str) -> str:
    """Return a matrix in one of FORMATS, with a newline at its end."""
    return FORMATS[name](matrix)


def rows(matrix: Matrix) -> Iterator[tuple[str, ...]]:
    """Yield the table: its headings, then a row for each cell. A platform that is the same in all has no column."""
    several = [len({cell.place.parts[at] for cell in matrix.cells}) > 1 for at in (2, 3)]
    names = [name for name, shown in zip(("platform", "vCPUs"), several, strict=True) if shown]
    yield ("firmware", "configuration", *names, "verdict", "outcome", "broken", "reached", "accesses", "s", "note")
    for cell in matrix.cells:
        parts = cell.place.parts
        chosen = [part for part, shown in zip(parts[2:], several, strict=True) if shown]
        trend = matrix.trend(cell)
        outcome = cell.outcome.value
        yield (
            *parts[:2],
            *chosen,
            cell.verdict,
            f"{outcome}, {trend.value}" if matrix.last is not None and trend is not Trend.SAME else outcome,
            broken(cell),
            cell.reached,
            str(cell.accesses),
            str(cell.seconds),
            escape(matrix.note(cell), NOTE_MAX),
        )


def broken(cell: Cell) -> str:
    """Return the rules that a cell breaks, in words."""
    rules = [rule for rule, status in cell.rules if status == Status.VIOLATED.value]
    return rules[0] + (f" and {len(rules) - 1} more" if len(rules) > 1 else "") if rules else ""


def facts(matrix: Matrix) -> Iterator[tuple[str, str]]:
    """Yield what is known of all cells."""
    for name, path in matrix.firmwares.items():
        yield "firmware", escape(f"{name}: {path}")
    for at, title in ((2, "platform"), (3, "vCPUs")):
        found = dict.fromkeys(cell.place.parts[at] for cell in matrix.cells)
        yield title, ", ".join(found)
    yield "until", escape(matrix.until)
    if matrix.rules:
        yield "rules", ", ".join(matrix.rules)
    yield "time", f"{matrix.seconds} s, {matrix.jobs} at a time"
    if matrix.last is not None:
        yield "last", escape(str(matrix.last))
    for name in matrix.gone:
        yield "gone", escape(name)
    for note in matrix.notes:
        yield "note", escape(note)


def _text(matrix: Matrix) -> str:
    lines = [escape(matrix.summary), "", *columns(list(rows(matrix))), "", *columns(list(facts(matrix)))]
    return "\n".join(lines) + "\n"


def _markdown(matrix: Matrix) -> str:
    head, *cells = rows(matrix)
    mark = "✅" if matrix.exit_status == 0 else "❌"
    lines = [f"### {mark} {escaped(escape(matrix.summary))}", "", row(head), "|" + " --- |" * len(head)]
    lines += [row(cell) for cell in cells]
    lines += ["", "<details>", "<summary>Observed</summary>", "", "| | |", "| --- | --- |"]
    return "\n".join([*lines, *(row(fact) for fact in facts(matrix)), "", "</details>"]) + "\n"


def _junit(matrix: Matrix) -> str:
    properties = {"until": matrix.until, **{f"firmware {k}": v for k, v in matrix.firmwares.items()}}
    cases = [_case(matrix, cell) for cell in matrix.cells]
    if not matrix.complete:
        cases.append(Case("snp-harness.matrix", "complete", CaseResult.ERROR, matrix.summary))
    return document("snp-harness matrix", cases, properties, matrix.seconds)


def _case(matrix: Matrix, cell: Cell) -> Case:
    failed = matrix.failed(cell)
    result = _CASES[cell.outcome] if failed else CaseResult.PASSED
    if failed and result is CaseResult.PASSED:
        # As expected, and worse than the last time.
        result = CaseResult.FAILED
    name = "/".join(cell.place.parts[1:])
    note = matrix.note(cell)
    return Case(
        f"snp-harness.matrix.{cell.place.firmware}",
        name,
        result,
        note if failed else "",
        "\n".join(cell.offences) if failed else "",
        cell.seconds,
        f"{cell.verdict}: {cell.reason}",
    )


def _github(matrix: Matrix) -> str:
    """Annotations: the summary, and the cells that fail it; GitHub shows the first ten of a level."""
    level = {EXIT_HOLDS: "notice", EXIT_INCONCLUSIVE: "warning"}.get(matrix.exit_status, "error")
    failed = [cell for cell in matrix.cells if matrix.failed(cell)]
    lines = [github.command(level, {"title": "snp-harness matrix"}, escape(matrix.summary))]
    lines += [
        github.command(level, {"title": cell.place.name}, escape(matrix.note(cell), NOTE_MAX))
        for cell in failed[: github.SHOWN - 1]
    ]
    return "\n".join(lines) + "\n"


def _html(matrix: Matrix) -> str:
    from snp_harness.matrix.page import render_page

    return render_page(matrix)


#: The forms by the names of --format, the default first.
FORMATS: dict[str, Callable[[Matrix], str]] = {
    "text": _text,
    "json": Matrix.text,
    "junit": _junit,
    "markdown": _markdown,
    "github": _github,
    "html": _html,
}
