# SPDX-License-Identifier: GPL-2.0-or-later
"""The report as JUnit XML: the verdict, and each rule, as a test case."""

from __future__ import annotations

from collections.abc import Iterator

from snp_harness.apic.verdict import RuleResult, Status, Verdict
from snp_harness.report.findings import findings
from snp_harness.report.junit_xml import Case, CaseResult, document
from snp_harness.report.model import Report
from snp_harness.report.terminal import rule_status

SUITE = "snp-harness"
#: Offences of a rule that a case lists.
LISTED = 20
_RESULTS = {
    Status.HOLDS: CaseResult.PASSED,
    Status.VIOLATED: CaseResult.FAILED,
    Status.INCONCLUSIVE: CaseResult.ERROR,
    Status.NOT_APPLICABLE: CaseResult.SKIPPED,
}


def render(report: Report) -> str:
    """Return the report as XML. Inconclusive is an error; a rule that cannot be observed is skipped."""
    properties = {
        "platform": report.verdict.platform,
        "witness": report.verdict.witness,
        "firmware": report.run.firmware,
        "configuration": report.run.configuration,
        "qemu": report.run.qemu,
        "artefacts": None if report.run.directory is None else str(report.run.directory),
        "error": report.run.error,
    }
    known = {key: value for key, value in properties.items() if value is not None}
    return document(SUITE, list(_cases(report)), known, report.run.elapsed_s)


def _cases(report: Report) -> Iterator[Case]:
    verdict = report.verdict
    message = "" if verdict.status is Status.HOLDS else report.headline
    text = "\n".join(report.timeline.gaps) if verdict.status is Status.INCONCLUSIVE else ""
    seconds = report.run.elapsed_s or 0.0
    yield Case("snp-harness", "verdict", _RESULTS[verdict.status], message, text, seconds, report.headline)
    places: dict[str, list[str]] = {}
    for finding in findings(report):
        where = f"{finding.place}: " if finding.place else ""
        places.setdefault(finding.rule, []).append(f"{where}{finding.message}")
    for result in verdict.results:
        case = _result(verdict, result)
        lines = places.get(result.rule, []) if case is CaseResult.FAILED else []
        more = [f"... and {len(lines) - LISTED} more"] if len(lines) > LISTED else []
        shown = "" if case is CaseResult.PASSED else result.reason
        yield Case("snp-harness.rules", result.rule, case, shown, "\n".join(lines[:LISTED] + more))


def _result(verdict: Verdict, result: RuleResult) -> CaseResult:
    return CaseResult.SKIPPED if rule_status(verdict, result) == "not observed" else _RESULTS[result.status]
