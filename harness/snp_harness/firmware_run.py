# SPDX-License-Identifier: GPL-2.0-or-later
"""One run from end to end: firmware to verdict. The command, the pytest plugin and bisecting go through here."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from snp_harness.defaults import DEFAULT_PLATFORM
from snp_harness.errors import EXIT_HOLDS, EXIT_INCONCLUSIVE, EXIT_VIOLATED, HarnessError
from snp_harness.platforms import find_platform
from snp_harness.platforms.platform import Platform, Progress, RunSpec
from snp_harness.vm import rundir
from snp_harness.vm.qemu_errors import CannotWriteError
from snp_harness.vm.rundir import RunDirectory

if TYPE_CHECKING:
    from snp_harness.apic.access import Phase
    from snp_harness.apic.timeline import Timeline
    from snp_harness.apic.verdict import Verdict

__all__ = ["RunResult", "RunSpec", "run"]


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a run gave. error: what broke it in the middle; timeline and verdict are about what was seen until then.

    directory: the run directory. seconds: wall time of the run. qemu: its version and path. second: the timeline of
    another witness of the same run, where there was one; the verdict is about `timeline`.
    """

    verdict: Verdict
    timeline: Timeline
    directory: Path
    error: HarnessError | None = None
    seconds: float = 0.0
    qemu: str = ""
    second: Timeline | None = None

    @property
    def exit_status(self) -> int:
        """Of the command: the error's, else by the verdict 0 holds, 1 violated, 3 inconclusive."""
        from snp_harness.apic.verdict import Status

        if self.error is not None:
            return self.error.exit_status
        by_status = {
            Status.HOLDS: EXIT_HOLDS,
            Status.VIOLATED: EXIT_VIOLATED,
            Status.INCONCLUSIVE: EXIT_INCONCLUSIVE,
        }
        return by_status[self.verdict.status]


def run(
    spec: RunSpec,
    platform_name: str = DEFAULT_PLATFORM,
    out: Path | None = None,
    progress: Progress | None = None,
) -> RunResult:
    """Run `spec` on a platform and judge what was seen.

    out: the run directory, None for a new one under runs/. progress: see snp_harness.platforms.platform.Progress.
    Raises HarnessError if the run could not start, and KeyboardInterrupt when the user ended it; timeline and verdict
    of what was seen are written before.
    """
    platform = find_platform(platform_name)
    directory = RunDirectory.create(out, platform_name)
    try:
        return _run(spec, platform, directory, progress or _silent)
    finally:
        directory.release()


def _run(spec: RunSpec, platform: Platform, directory: RunDirectory, progress: Progress) -> RunResult:
    started = time.monotonic()
    outcome = platform.run(spec, directory, progress)
    seconds = time.monotonic() - started
    # Imported here: before QEMU boots there is no time for it. The command has it loaded by now.
    from snp_harness.apic.contract import evaluate

    verdict = evaluate(outcome.timeline)
    try:
        directory.write_lines(rundir.TIMELINE, outcome.timeline.lines())
    except CannotWriteError:
        # The disk is full. The ROM can be built again, what was seen cannot be seen again.
        directory.file(rundir.ROM).unlink(missing_ok=True)
        directory.write_lines(rundir.TIMELINE, outcome.timeline.lines())
    if outcome.second is not None:
        directory.write_lines(rundir.SECOND_TIMELINE, outcome.second.lines())
    directory.write_json(rundir.VERDICT, verdict.to_json())
    where = {**(spec.host.facts() if spec.host is not None else {}), **outcome.facts}
    directory.write_environment(platform=platform.name, qemu=outcome.qemu, seconds=round(seconds, 3), **where)
    if outcome.interrupt is not None:
        raise outcome.interrupt
    return RunResult(verdict, outcome.timeline, directory.path, outcome.error, seconds, outcome.qemu, outcome.second)


def _silent(_phase: Phase, _accesses: int, _exits: int | None) -> None:
    """No progress."""
