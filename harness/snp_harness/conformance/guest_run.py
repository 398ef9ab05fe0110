# SPDX-License-Identifier: GPL-2.0-or-later
"""One run of the conformance guest, and the results of its points."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Unpack

from snp_harness.conformance.image import Mode, open_guest
from snp_harness.conformance.known import NONE_KNOWN, KnownFailures
from snp_harness.conformance.tap import TEXT_MAX, Point, PointStatus, TapReport, parse
from snp_harness.defaults import DEFAULT_PLATFORM
from snp_harness.errors import EXIT_HOLDS, EXIT_INCONCLUSIVE, EXIT_VIOLATED
from snp_harness.firmware_run import BootOptions, PreparedBoot, prepare
from snp_harness.platforms.svsm_console import SvsmPanicError
from snp_harness.vm import rundir

if TYPE_CHECKING:
    from pathlib import Path

    from snp_harness.firmware_run import RunResult
    from snp_harness.platforms.platform import Progress
    from snp_harness.svsm.config import SvsmConfig
    from snp_harness.vm.rundir import RunDirectory

#: The guest needs little memory, and the SVSM has less to validate.
MEMORY_MIB = 128
#: For the points that need another vCPU.
VCPUS = 2


@dataclass(frozen=True, slots=True)
class ConformanceResult:
    """The result of a run. tap: the points. run: the run itself. how: how the result was obtained. known: failures."""

    tap: TapReport
    run: RunResult
    how: str
    known: KnownFailures = NONE_KNOWN

    def of(self, status: PointStatus) -> tuple[Point, ...]:
        """Return the points with that status."""
        return tuple(point for point in self.tap.points if point.status is status)

    @property
    def not_passed(self) -> tuple[Point, ...]:
        """The points that failed or ended the run."""
        return tuple(p for p in self.tap.points if p.status in (PointStatus.FAILED, PointStatus.ENDED_THE_RUN))

    @property
    def unexpected(self) -> tuple[Point, ...]:
        """The points with another result than expected: without known failures, those that did not pass."""
        return tuple(point for point in self.tap.points if self.known.is_unexpected(point))

    @property
    def ended(self) -> str:
        """How the run ended."""
        return "; ".join(self.run.timeline.gaps)

    @property
    def exit_status(self) -> int:
        """Of the command: 1 a point has an unexpected result, 3 not all of them were reported, 0 neither."""
        if self.unexpected:
            return EXIT_VIOLATED
        return EXIT_HOLDS if self.tap.complete else EXIT_INCONCLUSIVE

    @property
    def verdict(self) -> str:
        """The result in one line."""
        counts = [f"{len(self.of(status))} {status.value}" for status in PointStatus]
        if not self.of(PointStatus.ENDED_THE_RUN):
            counts.pop()
        if missing := (self.tap.plan or 0) - len(self.tap.points):
            counts.append(f"{missing} not reached")
        words = {
            EXIT_HOLDS: "conforms but for known failures" if self.not_passed else "conforms",
            EXIT_VIOLATED: "does not conform",
            EXIT_INCONCLUSIVE: "inconclusive",
        }
        if self.known.source:
            new = len(self.unexpected)
            counts.append(f"{new} of them unexpected" if new else "as expected")
            words[EXIT_VIOLATED] = "differs from the known failures"
        return f"{words[self.exit_status]}: {', '.join(counts)} ({self.how})"


def prepare_guest(
    config: SvsmConfig | str | None,
    mode: Mode = None,
    platform: str = DEFAULT_PLATFORM,
    *,
    igvm: Path | None = None,
    **options: Unpack[BootOptions],
) -> PreparedBoot:
    """Prepare the boot of the conformance guest, as `prepare` does; memory and end of the run are the guest's own.

    vcpus: 0: two for its points, if the configuration has several, otherwise one. Points that need another vCPU are
    skipped with one.
    """
    vcpus = options.pop("vcpus", 0)
    options["memory_mib"] = MEMORY_MIB
    options["until"] = "shell"
    boot = prepare(open_guest(mode), platform, config, igvm=igvm, **options)
    if not vcpus:
        vcpus = VCPUS if mode is None and boot.spec.svsm.several_vcpus else 1
    return dataclasses.replace(boot, spec=dataclasses.replace(boot.spec, vcpus=vcpus))


def run_guest(boot: PreparedBoot, directory: RunDirectory, progress: Progress | None = None) -> ConformanceResult:
    """Run what `prepare_guest` has prepared, and read the points from its console.

    Raises HarnessError if the run cannot start or ends early; a guest that fails, hangs or crashes is a result.
    """
    result = boot.run(directory, progress)
    # An SVSM that the guest's calls make panic is a result, too.
    if result.error is not None and not isinstance(result.error, SvsmPanicError):
        raise result.error
    with directory.file(rundir.SERIAL).open(encoding="ascii", errors="replace", newline="") as console:
        text = console.read(TEXT_MAX + 1)
    directory.write_text(rundir.TAP, text)
    return ConformanceResult(parse(text), result, boot.platform.observed_on)
