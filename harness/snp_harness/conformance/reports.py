# SPDX-License-Identifier: GPL-2.0-or-later
"""The results of the points as files for other tools: TAP version 14 and JUnit XML, with known failures as such."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from snp_harness.conformance.tap import VERSION, PointStatus
from snp_harness.report.junit_xml import Case, CaseResult, document

if TYPE_CHECKING:
    from snp_harness.conformance.guest_run import ConformanceResult
    from snp_harness.conformance.tap import Point

_NOT_PRINTABLE = re.compile(r"[^\x20-\x7e]")
_NOT_PASSED = (PointStatus.FAILED, PointStatus.ENDED_THE_RUN)
UNEXPECTED_PASS = "passed, but is a known failure"


def to_tap(result: ConformanceResult) -> str:
    """Return the points as TAP. A known failure, and one that passes, has the directive TODO.

    An unexpected pass is "ok" in TAP (its specification: a TODO test that succeeds); the command's exit status is 1.
    """
    lines = [VERSION, f"1..{result.tap.plan or len(result.tap.points)}"]
    for number, point in enumerate(result.tap.points, 1):
        known = result.known.by_name.get(point.name)
        directive = ""
        if point.status is PointStatus.SKIPPED:
            directive = f" # SKIP {point.reason}"
        elif known is not None and (point.status is PointStatus.PASSED or known.status is point.status):
            directive = f" # TODO {known.reason}"
        lines.append(f"{'not ' if point.status in _NOT_PASSED else ''}ok {number} - {point.name}{directive}")
        if point.diagnostic and point.status in _NOT_PASSED:
            lines += ["  ---", *(f'  {key}: "{_plain(value)}"' for key, value in point.diagnostic), "  ..."]
    if result.tap.defects:
        lines.append(f"Bail out! {_plain('; '.join(result.tap.defects))}")
    return "\n".join([*lines, ""])


def to_junit(result: ConformanceResult) -> str:
    """Return the points as JUnit XML.

    A known failure is skipped, an unexpected pass a failure, a point that ended the run an error.
    """
    cases = []
    for point in result.tap.points:
        group, _, name = point.name.partition("/")
        status, message = _junit_result(result, point)
        text = "" if status is CaseResult.PASSED else "\n".join(f"{key}: {value}" for key, value in point.diagnostic)
        cases.append(Case(f"conformance.{group}", name, status, _plain(message), text))
    if result.tap.defects:
        message = _plain("; ".join(result.tap.defects))
        cases.append(Case("conformance", "all points are reported", CaseResult.ERROR, message))
    return document("snp-harness conformance", cases, seconds=result.run.seconds)


def _junit_result(result: ConformanceResult, point: Point) -> tuple[CaseResult, str]:
    """Return a point's result, and its message."""
    if point.status is PointStatus.SKIPPED:
        return CaseResult.SKIPPED, point.reason
    if (known := result.known.explains(point)) is not None:
        return CaseResult.SKIPPED, f"known failure: {known.reason}"
    if point.status is PointStatus.PASSED:
        return (CaseResult.FAILED, UNEXPECTED_PASS) if result.known.is_unexpected(point) else (CaseResult.PASSED, "")
    kind = CaseResult.ERROR if point.status is PointStatus.ENDED_THE_RUN else CaseResult.FAILED
    return kind, dict(point.diagnostic).get("message", point.status.value)


def _plain(text: str) -> str:
    return _NOT_PRINTABLE.sub("?", text.replace('"', "'"))
