# SPDX-License-Identifier: GPL-2.0-or-later
"""`SnpGolden`: what the fixture `snp_golden` returns. It compares a boot with a timeline kept beside the test."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from snp_harness.errors import HarnessError
from snp_harness.testing.evidence import file_name

if TYPE_CHECKING:
    from snp_harness.apic.difference import Difference
    from snp_harness.firmware_run import RunResult

#: The directory of golden timelines, beside the test's file.
DIRECTORY = "golden"
#: The property of a test that has written a golden timeline.
UPDATED = "snp_golden_updated"
#: Lines of a difference in a failure; `snp-harness diff` has no limit.
_SHOWN = 60
_UPDATE = "pytest --snp-update-golden writes it"


class SnpGolden:
    """The fixture `snp_golden`. request: that of the test."""

    def __init__(self, request: pytest.FixtureRequest) -> None:
        self._request = request
        self._checked: set[Path] = set()

    def path(self, name: str | None = None) -> Path:
        """Return the file of a golden timeline: golden/FILE/TEST.jsonl beside the test's file, or TEST.NAME.jsonl."""
        node = self._request.node
        test = node.nodeid.split("::", 1)[-1]
        parts = map(file_name, [test] if name is None else [test, name])
        file: Path = node.path
        return file.parent / DIRECTORY / file.stem / f"{'.'.join(parts)}.jsonl"

    def check(self, result: RunResult, name: str | None = None) -> None:
        """Assert that a run has the accesses of the golden timeline.

        name: of the timeline, where a test has several. With --snp-update-golden the timeline is written instead.
        Raises AssertionError with the difference: aligned by vCPU, module and order, without numbers, times and
        addresses. A run that was not seen whole fails. Raises UsageError for a file that cannot be read.
        """
        __tracebackhide__ = True
        path = self.path(name)
        if path in self._checked:
            pytest.fail("a test has one golden timeline without a name: use snp_golden.check(result, name)")
        self._checked.add(path)
        if not result.timeline.complete or result.error is not None:
            why = result.error or (result.timeline.gaps or ("records were lost",))[0]
            raise AssertionError(f"inconclusive: the run was not seen whole: {why}\nartefacts: {result.directory}")
        if self._request.config.getoption("snp_update_golden"):
            self._update(path, result)
            return
        try:
            failure = _compare(path, result)
        except HarnessError as error:
            raise error.with_traceback(None) from None
        if failure:
            raise AssertionError(f"{failure}\ngolden: {path}\nartefacts: {result.directory}\n{_UPDATE}")

    def _update(self, path: Path, result: RunResult) -> None:
        from snp_harness.apic.golden import golden_lines

        text = "".join(golden_lines(result.timeline))
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        self._request.node.user_properties.append((UPDATED, str(path)))


def _compare(path: Path, result: RunResult) -> str:
    """Return what differs from a golden timeline, "" if nothing does."""
    from snp_harness.apic.difference import difference
    from snp_harness.apic.golden import read_golden
    from snp_harness.apic.timeline import bounded_lines

    if not path.is_file():
        return "there is no golden timeline"
    with path.open(encoding="utf-8", errors="replace") as stream:
        golden = read_golden(bounded_lines(stream), str(path))
    if golden.platform != result.timeline.platform:
        return f"the golden timeline is of {golden.platform}, and the run of {result.timeline.platform}"
    return _shown(difference(golden, result.timeline))


def _shown(found: Difference) -> str:
    from snp_harness.report.difference import lines, summary

    if found.empty and not found.doubts and not found.not_compared:
        return ""
    what = "inconclusive" if found.empty else "the timeline is not the golden one"
    listed = list(lines(found))
    more = [f"... and {len(listed) - _SHOWN} lines more"] if len(listed) > _SHOWN else []
    return "\n".join([f"{what}: {summary(found)}", *listed[:_SHOWN], *more])


def updated(terminalreporter: pytest.TerminalReporter) -> list[str]:
    """Return the golden timelines that were written, also by the workers of xdist."""
    reports = [report for reports in terminalreporter.stats.values() for report in reports]
    properties = [entry for report in reports for entry in getattr(report, "user_properties", ())]
    return sorted({value for name, value in properties if name == UPDATED})
