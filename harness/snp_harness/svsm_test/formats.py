# SPDX-License-Identifier: GPL-2.0-or-later
"""A report of an in-SVSM test image as TAP version 14 and as JUnit's XML."""

from __future__ import annotations

from collections.abc import Iterator

from snp_harness.report.junit_xml import Case, CaseResult, document
from snp_harness.svsm_test.lines import TestReport, TestResult, TestStatus

TAP_VERSION = "TAP version 14"
_RESULTS = {
    TestStatus.PASSED: CaseResult.PASSED,
    TestStatus.FAILED: CaseResult.FAILED,
    TestStatus.SKIPPED: CaseResult.SKIPPED,
}


def tap_lines(report: TestReport) -> Iterator[str]:
    """Yield the report as lines of TAP: a point for each test; what is not complete is a comment, and a missing point.

    https://testanything.org/tap-version-14-specification.html
    """
    yield TAP_VERSION
    yield f"1..{max(report.plan, len(report.results))}"
    for number, result in enumerate(report.results, 1):
        failed = "not " if result.status is TestStatus.FAILED else ""
        skip = f" # SKIP {_escaped(result.reason)}" if result.status is TestStatus.SKIPPED else ""
        yield f"{failed}ok {number} - {_escaped(result.name)}{skip}"
        yield from _diagnostic(result)
    for defect in report.defects:
        yield f"# not complete: {defect}"


def _diagnostic(result: TestResult) -> Iterator[str]:
    if result.status is not TestStatus.FAILED and not result.warnings:
        return
    yield "  ---"
    if result.status is TestStatus.FAILED:
        yield f"  message: {_quoted(result.reason)}"
    for key, lines in (("warnings", result.warnings), ("output", result.output)):
        if lines:
            yield f"  {key}:"
            yield from (f"    - {_quoted(line)}" for line in lines)
    yield f"  seconds: {result.seconds:.3f}"
    yield "  ..."


def junit(report: TestReport, name: str, vcpus: int) -> str:
    """Return the report as XML. name: the image's. What is not complete is an error of a test case of its own."""
    cases = []
    for result in report.results:
        group, _, test = result.name.rpartition("::")
        why = "" if result.status is TestStatus.PASSED else result.reason
        text = why if result.status is TestStatus.FAILED else ""
        cases.append(
            Case(group or name, test, _RESULTS[result.status], why, text, result.seconds, "\n".join(result.output))
        )
    if report.defects:
        text = "\n".join(report.defects)
        cases.append(Case(name, "the whole image", CaseResult.ERROR, report.defects[0], text))
    return document(name, cases, {"vcpus": str(vcpus)})


def _escaped(text: str) -> str:
    """Return text for a description or a directive: "#" and backslash are escaped."""
    return text.replace("\\", "\\\\").replace("#", "\\#")


def _quoted(text: str) -> str:
    """Return text as a double-quoted string of YAML."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
