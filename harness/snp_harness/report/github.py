# SPDX-License-Identifier: GPL-2.0-or-later
"""The report as workflow commands, which GitHub Actions shows as annotations of a job and of the files of a change."""

from __future__ import annotations

from snp_harness.apic.verdict import Status
from snp_harness.report.findings import Finding, findings
from snp_harness.report.model import Report
from snp_harness.report.text import escape

#: Annotations of one step and level that GitHub shows.
SHOWN = 10


def render(report: Report) -> str:
    """Return a line for each finding, and one for the verdict. GitHub shows the first ten of a level."""
    found = findings(report)
    status = report.verdict.status
    level = "error" if status is Status.VIOLATED else "warning" if status is Status.INCONCLUSIVE else "notice"
    lines = [command(level, {"title": f"snp-harness: {status.value}"}, escape(report.headline))]
    broken = [finding for finding in found if finding.broken]
    lines += [_annotation(finding) for finding in broken[: SHOWN - 1]]
    return "\n".join(lines) + "\n"


def _annotation(finding: Finding) -> str:
    where = {} if finding.source is None else {"file": finding.source.file, "line": str(finding.source.line)}
    return command("error", {**where, "title": finding.rule}, finding.sentence)


def command(level: str, properties: dict[str, str], message: str) -> str:
    """Return a workflow command with its properties, escaped as actions/toolkit's command.ts does."""
    listed = ",".join(f"{key}={_escaped(value, ':', ',')}" for key, value in properties.items())
    return f"::{level} {listed}::{_escaped(message)}"


def _escaped(text: str, *more: str) -> str:
    for character in ("%", "\r", "\n", *more):
        text = text.replace(character, f"%{ord(character):02X}")
    return text
