# SPDX-License-Identifier: GPL-2.0-or-later
"""The report as Markdown, for the summary of a CI job or a comment on a pull request."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from snp_harness.apic.verdict import Status
from snp_harness.report.model import Report
from snp_harness.report.terminal import Block, blocks
from snp_harness.report.text import escape

_MARKS = {
    Status.HOLDS: "✅",
    Status.VIOLATED: "❌",
    Status.INCONCLUSIVE: "⚠️",
    Status.NOT_APPLICABLE: "➖",
}
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>()#+!|~@&])")


def render(report: Report) -> str:
    """Return the report as Markdown of GitHub's and GitLab's kind: what is known of the run is folded."""
    *shown, observed, run = blocks(report, None)
    lines = [f"### {_MARKS[report.verdict.status]} {escaped(escape(report.headline))}"]
    for block in shown:
        lines += ["", f"#### {escaped(block.title)}", "", *_table(block)]
    lines += ["", "<details>", f"<summary>{observed.title}, {run.title.lower()}</summary>"]
    for block in (observed, run):
        lines += ["", *_table(block)]
    lines += ["", "</details>"]
    return "\n".join(lines) + "\n"


def _table(block: Block) -> Iterator[str]:
    """Yield a block's table, and the lines below it."""
    head: Sequence[str] = block.rows[0] if block.headed and block.rows else ()
    rows = block.rows[1:] if head else block.rows
    width = max(map(len, block.rows), default=0)
    if width:
        yield row(head or [""] * width)
        yield "|" + " --- |" * width
        yield from (row(cells) for cells in rows)
    for line in block.after:
        yield ""
        yield escaped(line)


def row(cells: Iterable[str]) -> str:
    """Return a table's row, of text as it is."""
    return "| " + " | ".join(map(escaped, cells)) + " |"


def escaped(text: str) -> str:
    """Return text as Markdown that shows it as it is."""
    return _SPECIAL.sub(r"\\\1", text)
