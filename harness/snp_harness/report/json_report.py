# SPDX-License-Identifier: GPL-2.0-or-later
"""The report as JSON; docs/json.md is its schema. Fields are added, never renamed, within a version."""

from __future__ import annotations

import json
from typing import Any

from snp_harness.apic.rules import injection
from snp_harness.data import json_head
from snp_harness.report.model import Report
from snp_harness.version import build


def to_json(report: Report) -> dict[str, Any]:
    """Return the report as JSON values."""
    timeline, run = report.timeline, report.run
    profile = {} if report.profile is None else {"profile": report.profile.to_json()}
    return {
        **json_head("report"),
        "harness": build().version,
        "summary": report.headline,
        "verdict": report.verdict.to_json(),
        "sources": [place.to_json() for place in report.sources],
        "observation": {
            "complete": timeline.complete,
            "gaps": list(timeline.gaps),
            "lost": timeline.lost,
            "reached": timeline.reached.name,
            "accesses": len(timeline.accesses),
            "alternate_injection": timeline.alternate_injection,
            "alternate_injection_seen": bool(injection.begun(timeline)),
            "svsm": timeline.svsm,
            "svsm_seen": timeline.svsm_seen,
            "apic_protocol": timeline.apic_protocol,
            "faults": list(timeline.faults),
            "defects": list(timeline.defects),
            "phases": [mark.to_json() for mark in timeline.phases],
            "guest_exit": timeline.guest_exit,
            "launch_digest": timeline.launch_digest,
        },
        "run": {
            "firmware": run.firmware,
            "configuration": run.configuration,
            "qemu": run.qemu,
            "directory": None if run.directory is None else str(run.directory),
            "rerun": list(run.rerun),
            "elapsed_s": run.elapsed_s,
            "error": run.error,
            "notes": list(report.notes),
        },
        **profile,
    }


def render(report: Report) -> str:
    """Return the report as a JSON text of ASCII characters, with a newline at its end."""
    return json.dumps(to_json(report), indent=2) + "\n"
