# SPDX-License-Identifier: GPL-2.0-or-later
"""The forms of a report, by the names of --format.

The module of a form is loaded when it is used. It has render(report), which returns the text.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from snp_harness.report.model import Report

#: Name and module, the default first.
FORMATS = {
    "text": "snp_harness.report.terminal",
    "json": "snp_harness.report.json_report",
    "junit": "snp_harness.report.junit",
    "sarif": "snp_harness.report.sarif",
    "markdown": "snp_harness.report.markdown",
    "github": "snp_harness.report.github",
    "gitlab": "snp_harness.report.gitlab",
    "perfetto": "snp_harness.report.perfetto",
    "html": "snp_harness.report.html",
}


def render(report: Report, name: str) -> str:
    """Return a report in one of FORMATS, with a newline at its end."""
    text: str = import_module(FORMATS[name]).render(report)
    return text
