# SPDX-License-Identifier: GPL-2.0-or-later
"""--snp-report DIR: a page for each boot, and an index of the session."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from snp_harness.testing.evidence import EVIDENCE, Evidence, file_name
from snp_harness.testing.options import path_option

if TYPE_CHECKING:
    from snp_harness.report.html.index import TestEntry

INDEX = "index.html"
#: The attribute of a test's last report with its boots, as JSON values: xdist sends it to the process of the index.
_BOOTS = "snp_boots"
_NAME_MAX = 100


def write_pages(item: pytest.Item, report: pytest.TestReport) -> None:
    """Write the pages of a test's boots, and name them in its last report."""
    directory = path_option(item.config, "report")
    boots = item.stash.get(EVIDENCE, [])
    if directory is None or report.when != "teardown" or not boots:
        return
    # Names that are shortened or lose a character stay apart.
    stem = f"{file_name(item.nodeid)[-_NAME_MAX:]}-{sha256(item.nodeid.encode()).hexdigest()[:8]}"
    written = [_write_page(directory, f"{stem}-{number}.html", boot) for number, boot in enumerate(boots, start=1)]
    setattr(report, _BOOTS, [entry for entry in written if entry is not None])


def _write_page(directory: Path, name: str, boot: Evidence) -> dict[str, str] | None:
    """Write the page of a boot and return what the index says of it; None for a boot that could not start."""
    if boot.result is None:
        return None
    from snp_harness.errors import HarnessError
    from snp_harness.recorded import load_report
    from snp_harness.report.html import render
    from snp_harness.report.model import Report

    shown = Report(boot.result.verdict, boot.result.timeline)
    try:
        shown = load_report(boot.directory)
        directory.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(render(shown), encoding="utf-8")
    except (HarnessError, OSError):
        # The test has removed the run directory, or the disk is full: the session goes on, and the index has no link.
        name = ""
    return {
        "page": name,
        "status": shown.verdict.status.value,
        "reason": shown.reason,
        "platform": boot.platform,
        "firmware": Path(shown.run.firmware or "").name,
    }


class Index:
    """Writes the index at the end of the session, in the process that has all reports."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._reports: dict[str, list[Any]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep a report."""
        self._reports.setdefault(report.nodeid, []).append(report)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        """Write the index, if a test had anything to do with it."""
        from snp_harness.report.html.index import render_index

        self._directory.mkdir(parents=True, exist_ok=True)
        tests = [_entry(name, reports) for name, reports in self._reports.items()]
        (self._directory / INDEX).write_text(render_index(tests), encoding="utf-8")

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Name the index."""
        terminalreporter.write_line(f"snp-harness: report: {self._directory / INDEX}")


def _entry(name: str, reports: list[Any]) -> TestEntry:
    from snp_harness.apic.verdict import Status
    from snp_harness.report.html.index import BootEntry, TestEntry

    boots = [
        BootEntry(**{**boot, "status": Status(boot["status"])})
        for report in reports
        for boot in getattr(report, _BOOTS, [])
    ]
    outcome, reason = "passed", ""
    for report in reports:
        expected = hasattr(report, "wasxfail")
        if report.failed:
            outcome = "failed" if report.when == "call" else "error"
        elif report.skipped and outcome == "passed":
            outcome = "xfailed" if expected else "skipped"
        elif expected and report.when == "call":
            outcome = "xpassed"
        else:
            continue
        reason = _reason(report)
        if report.failed:
            break
    return TestEntry(name, outcome, sum(report.duration for report in reports), reason, tuple(boots))


def _reason(report: Any) -> str:
    """Why a test failed or was skipped: one line."""
    if expected := getattr(report, "wasxfail", ""):
        return str(expected)
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[2])
    crash = getattr(report.longrepr, "reprcrash", None)
    lines = str(report.longrepr if crash is None else crash.message).strip().splitlines()
    return lines[0] if lines else ""
