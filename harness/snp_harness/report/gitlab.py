# SPDX-License-Identifier: GPL-2.0-or-later
"""The report as GitLab's code-quality JSON (a subset of Code Climate's), which a merge request shows."""

from __future__ import annotations

import json
from typing import Any

from snp_harness.report.findings import Finding, findings, firmware_path
from snp_harness.report.model import Report


def render(report: Report) -> str:
    """Return a list with an entry for each finding; an inconclusive verdict is one, too."""
    return json.dumps([_entry(report, finding) for finding in findings(report)], indent=2) + "\n"


def _entry(report: Report, finding: Finding) -> dict[str, Any]:
    source = finding.source
    return {
        "description": finding.sentence,
        "check_name": finding.rule or "verdict",
        "fingerprint": finding.fingerprint,
        "severity": "critical" if finding.broken else "major",
        "location": {
            "path": firmware_path(report) if source is None else source.file,
            "lines": {"begin": 1 if source is None else source.line},
        },
    }
