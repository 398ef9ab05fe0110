# SPDX-License-Identifier: GPL-2.0-or-later
"""The report as SARIF 2.1.0 (OASIS), for code scanning: a result for each place that breaks a rule.

An inconclusive run has a result of level warning: without one it would look like a run without a fault.
"""

from __future__ import annotations

import json
import shlex
from typing import Any

from snp_harness.apic.contract import REQUIRED, RULES, explained
from snp_harness.defaults import PROGRAM
from snp_harness.report.findings import Finding, findings, firmware_path, uri
from snp_harness.report.model import Report
from snp_harness.version import build

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/os/schemas/sarif-schema-2.1.0.json"
VERSION = "2.1.0"
#: Readers have signed integers of 64 bits.
_ADDRESS_MAX = (1 << 63) - 1


def render(report: Report) -> str:
    """Return the report as a SARIF log with one run."""
    return json.dumps({"$schema": SCHEMA, "version": VERSION, "runs": [_run(report)]}, indent=2) + "\n"


def _run(report: Report) -> dict[str, Any]:
    run, verdict = report.run, report.verdict
    driver = {
        "name": PROGRAM,
        "version": build().version,
        "rules": [_rule(rule.name, explained(rule)) for rule in RULES],
    }
    command = {"commandLine": shlex.join(run.rerun)} if run.rerun else {}
    said = [] if run.error is None else [_notification("error", run.error)]
    said += [_notification("warning", f"not seen: {gap}") for gap in report.timeline.gaps]
    said += [_notification("note", note) for note in report.notes]
    return {
        "tool": {"driver": driver},
        "invocations": [
            {**command, "executionSuccessful": run.error is None, "toolExecutionNotifications": said},
        ],
        "artifacts": [{"location": {"uri": uri(firmware_path(report))}, "roles": ["analysisTarget"]}],
        "results": [_result(report, finding) for finding in findings(report)],
        "properties": {
            "summary": report.headline,
            "verdict": verdict.status.value,
            "platform": verdict.platform,
            "witness": verdict.witness,
        },
    }


def _rule(name: str, text: str) -> dict[str, Any]:
    short, _, rest = text.partition("\n\n")
    return {
        "id": name,
        "shortDescription": {"text": " ".join(short.split())},
        "fullDescription": {"text": " ".join((rest or short).split())},
        "defaultConfiguration": {"level": "error"},
        "properties": {"required": name in REQUIRED},
    }


def _notification(level: str, text: str) -> dict[str, Any]:
    return {"level": level, "message": {"text": text}}


def _result(report: Report, finding: Finding) -> dict[str, Any]:
    index = next((number for number, rule in enumerate(RULES) if rule.name == finding.rule), None)
    rule = {} if index is None else {"ruleId": finding.rule, "ruleIndex": index}
    return {
        **rule,
        "level": "error" if finding.broken else "warning",
        "message": {"text": finding.sentence},
        "locations": [_location(report, finding)],
        "partialFingerprints": {"snpHarness/v1": finding.fingerprint},
    }


def _location(report: Report, finding: Finding) -> dict[str, Any]:
    access, source = finding.access, finding.source
    if source is not None:
        physical: dict[str, Any] = {
            "artifactLocation": {"uri": uri(source.file)},
            "region": {"startLine": source.line},
        }
    else:
        # A firmware has no lines. Code scanning wants one.
        physical = {"artifactLocation": {"uri": uri(firmware_path(report)), "index": 0}, "region": {"startLine": 1}}
    logical = []
    if access is not None and access.pc is not None and access.pc <= _ADDRESS_MAX:
        address: dict[str, Any] = {"absoluteAddress": access.pc, "kind": "instruction"}
        if access.module is not None and access.module_offset is not None:
            address |= {"offsetFromParent": access.module_offset, "fullyQualifiedName": finding.place}
        physical["address"] = address
    if access is not None and access.module is not None:
        logical.append({"name": access.module, "fullyQualifiedName": finding.place, "kind": "module"})
    if source is not None:
        logical.append({"name": source.function, "kind": "function"})
    return {"physicalLocation": physical, **({"logicalLocations": logical} if logical else {})}
