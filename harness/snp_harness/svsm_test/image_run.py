# SPDX-License-Identifier: GPL-2.0-or-later
"""Running an in-SVSM test image: its lines as they arrive, a time limit for each test, and how it ends."""

from __future__ import annotations

import codecs
import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from snp_harness.apic.event_kinds import SVSM_EXIT
from snp_harness.errors import EXIT_HOLDS, EXIT_INCONCLUSIVE, EXIT_VIOLATED, HarnessError
from snp_harness.platforms.svsm_console import SvsmPanicError
from snp_harness.svsm_test.formats import junit, tap_lines
from snp_harness.svsm_test.lines import TestLines, TestReport, TestStatus
from snp_harness.vm import rundir

if TYPE_CHECKING:
    from collections.abc import Callable

    from snp_harness.apic.access import Phase
    from snp_harness.firmware_run import PreparedBoot, RunResult
    from snp_harness.svsm_test.questions import Questions
    from snp_harness.vm.rundir import RunDirectory

#: COCONUT's QEMUExitValue (kernel/src/testing.rs); QEMU's own exit status would be 2n + 1, 33 and 35.
SUCCESS, FAILURE = 0x10, 0x11
#: The devices that the image writes to, as COCONUT's scripts have them: for its end, and for its tests of ports.
TEST_DEVICES = ("-device", "isa-debug-exit,iobase=0xf4,iosize=4", "-device", "pc-testdev")
#: Called with the phase, tests with a result, tests that were announced, and the one that runs.
TestProgress: TypeAlias = "Callable[[Phase, int, int, str], None]"
#: Of the whole run: only the limits of the start and of each test end it.
RUN_TIMEOUT_S = 24 * 3600.0
_READ_MAX = 1 << 20


class TestHangError(HarnessError):
    """The image did not go on for longer than its limit."""

    __test__ = False


@dataclass(frozen=True, slots=True)
class ImageResult:
    """What an image reported. run: the run itself. status: what it wrote to isa-debug-exit, None if it did not."""

    report: TestReport
    run: RunResult
    status: int | None

    @property
    def exit_status(self) -> int:
        """Of the command: 1 a test failed, 3 not all of them were reported, 0 all passed."""
        if self.report.of(TestStatus.FAILED) or self.status == FAILURE:
            return EXIT_VIOLATED
        return EXIT_INCONCLUSIVE if self.report.defects else EXIT_HOLDS

    @property
    def verdict(self) -> str:
        """The result in one line."""
        words = {EXIT_HOLDS: "passed", EXIT_VIOLATED: "failed", EXIT_INCONCLUSIVE: "inconclusive"}
        counts = ", ".join(f"{len(self.report.of(status))} {status.value}" for status in TestStatus)
        return f"{words[self.exit_status]}: {counts} of {self.report.plan} announced"


class Watcher:
    """Reads the consoles' logs while the run writes them; raises TestHangError if nothing goes on.

    test_s: seconds for the start, and for each test. progress: called as well.
    """

    def __init__(self, directory: RunDirectory, test_s: float, progress: TestProgress) -> None:
        self._test_s = test_s
        self._progress = progress
        self._consoles = [_Log(directory.file(name)) for name in (rundir.SVSM, rundir.SERIAL)]
        self._started_s = time.monotonic()

    @property
    def lines(self) -> TestLines:
        """Return the console that shows tests; the first one if none does."""
        return next((one.lines for one in self._consoles if one.lines.since_s is not None), self._consoles[0].lines)

    @property
    def last_line(self) -> str:
        """Return the last line of the consoles, the SVSM's first."""
        return self.lines.last_line or next((one.lines.last_line for one in self._consoles if one.lines.last_line), "")

    def __call__(self, phase: Phase, _accesses: int, _exits: int | None) -> None:
        """Read what is there. Raises TestHangError."""
        self.read()
        lines = self.lines
        self._progress(phase, *lines.counts, lines.current or "")
        waited_s = time.monotonic() - (self._started_s if lines.since_s is None else lines.since_s)
        if waited_s > self._test_s:
            last = f", last line: {self.last_line}" if self.last_line else ", nothing on its consoles"
            what = "did not end" if lines.current else "started no test"
            raise TestHangError(f"{lines.current or 'the image'} {what} in {self._test_s:g} s{last}", "see --timeout")

    def read(self) -> None:
        """Read what the consoles have."""
        for one in self._consoles:
            one.read()


class _Log:
    """A log that is being written."""

    def __init__(self, path: Path) -> None:
        self.lines = TestLines()
        self._path = path
        self._at = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def read(self) -> None:
        try:
            with self._path.open("rb") as log:
                log.seek(self._at)
                while data := log.read(_READ_MAX):
                    self._at += len(data)
                    self.lines.feed(self._decoder.decode(data), time.monotonic())
        except FileNotFoundError:
            return


def run_image(
    boot: PreparedBoot, directory: RunDirectory, name: str, test_s: float, progress: TestProgress, questions: Questions
) -> ImageResult:
    """Run an image whose boot is prepared, and write its results as TAP and as JUnit's XML into the run directory.

    Raises HarnessError if the run cannot start or breaks; an image that fails, hangs or panics is a result.
    """
    watcher = Watcher(directory, test_s, progress)
    spec = dataclasses.replace(boot.spec, answers=questions)
    result = dataclasses.replace(boot, spec=spec).run(directory, watcher)
    if result.error is not None and not isinstance(result.error, SvsmPanicError | TestHangError):
        raise result.error
    watcher.read()
    status = _status(result)
    panic = result.error.panic if isinstance(result.error, SvsmPanicError) else None
    failure = "" if status in (SUCCESS, FAILURE) else "; ".join(result.timeline.gaps)
    report = watcher.lines.finish(panic, failure, time.monotonic())
    report = dataclasses.replace(report, defects=(*report.defects, *(f"it {what}" for what in questions.refused)))
    if status not in (SUCCESS, FAILURE):
        shown = "no status" if status is None else f"status {status}"
        report = dataclasses.replace(report, defects=(*report.defects, f"the image ended with {shown}, not {SUCCESS}"))
    directory.write_text(rundir.TAP_RESULTS, "\n".join(tap_lines(report)) + "\n")
    directory.write_text(rundir.JUNIT, junit(report, name, boot.spec.vcpus))
    return ImageResult(report, result, status)


def _status(result: RunResult) -> int | None:
    for event in reversed(result.timeline.events):
        if event.kind == SVSM_EXIT and isinstance(status := event.fields.get("status"), int):
            return status
    return None
