# SPDX-License-Identifier: GPL-2.0-or-later
"""Running the conformance guest and telling what came of its points: `snp-harness conformance`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from snp_harness.apic.contract import OBSERVED_ON
from snp_harness.conformance.image import Mode, open_guest
from snp_harness.conformance.tap import TEXT_MAX, Point, PointStatus, TapReport, parse
from snp_harness.defaults import DEFAULT_PLATFORM, DEFAULT_TIMEOUT_S
from snp_harness.errors import EXIT_HOLDS, EXIT_INCONCLUSIVE, EXIT_VIOLATED
from snp_harness.firmware_run import BootOptions, PreparedBoot, prepare
from snp_harness.report.text import escape
from snp_harness.vm import rundir
from snp_harness.vm.rundir import RunDirectory

if TYPE_CHECKING:
    import argparse

    from snp_harness.firmware_run import RunResult
    from snp_harness.hosts.host import Host
    from snp_harness.platforms.platform import Progress
    from snp_harness.svsm.config import SvsmConfig

#: The guest needs little, and the SVSM validates less.
MEMORY_MIB = 128


@dataclass(frozen=True, slots=True)
class ConformanceResult:
    """What came of a run. tap: the points. run: the run itself. how: how the result was obtained."""

    tap: TapReport
    run: RunResult
    how: str

    def of(self, status: PointStatus) -> tuple[Point, ...]:
        """The points with that status."""
        return tuple(point for point in self.tap.points if point.status is status)

    @property
    def ended(self) -> str:
        """How the run ended."""
        return "; ".join(self.run.timeline.gaps)

    @property
    def exit_status(self) -> int:
        """Of the command: 1 a point failed, 3 not all of them were told, 0 none failed."""
        if self.of(PointStatus.FAILED):
            return EXIT_VIOLATED
        return EXIT_HOLDS if self.tap.complete else EXIT_INCONCLUSIVE

    @property
    def verdict(self) -> str:
        """In a line."""
        counts = ", ".join(f"{len(self.of(status))} {status.value}" for status in PointStatus)
        words = {EXIT_HOLDS: "conforms", EXIT_VIOLATED: "does not conform", EXIT_INCONCLUSIVE: "inconclusive"}
        return f"{words[self.exit_status]}: {counts} ({self.how})"


def run_conformance(
    svsm: SvsmConfig,
    mode: Mode = None,
    *,
    platform: str = DEFAULT_PLATFORM,
    qemu: Path | None = None,
    host: Host | None = None,
    out: Path | None = None,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    icount: bool = False,
    progress: Progress | None = None,
) -> ConformanceResult:
    """Run the conformance guest under an SVSM configuration.

    mode: None for its points, or Ticks or Fuzz. qemu, host, out, timeout_s, icount, progress: as for `run`.
    Raises HarnessError if the run cannot start or ends early; a guest that fails, hangs or crashes is a result.
    """
    boot = prepare_guest(svsm, mode, platform, qemu=qemu, host=host, timeout_s=timeout_s, icount=icount)
    with RunDirectory.create(out, platform) as directory:
        return run_guest(boot, directory, progress)


def prepare_guest(
    config: SvsmConfig | str, mode: Mode = None, platform: str = DEFAULT_PLATFORM, **options: Unpack[BootOptions]
) -> PreparedBoot:
    """Prepare the boot of the conformance guest, as `prepare` does; memory and end of the run are the guest's own."""
    options["memory_mib"] = MEMORY_MIB
    options["until"] = "shell"
    return prepare(open_guest(mode), platform, config, **options)


def run_guest(boot: PreparedBoot, directory: RunDirectory, progress: Progress | None = None) -> ConformanceResult:
    """Run what `prepare_guest` has prepared, and read the points from its console. Raises as `run_conformance`."""
    result = boot.run(directory, progress)
    if result.error is not None:
        raise result.error
    with directory.file(rundir.SERIAL).open(encoding="ascii", errors="replace", newline="") as console:
        text = console.read(TEXT_MAX + 1)
    directory.write_text(rundir.TAP, text)
    return ConformanceResult(parse(text), result, OBSERVED_ON.get(boot.platform.name, boot.platform.name))


def render(result: ConformanceResult, configuration: str) -> Iterator[str]:
    """The report for a terminal, line by line."""
    yield result.verdict
    for point in result.of(PointStatus.FAILED):
        yield ""
        yield f"not ok {point.number} - {escape(point.name)}"
        yield from (f"  {key}: {escape(value)}" for key, value in point.diagnostic)
    if result.tap.defects:
        yield ""
        yield "Not complete"
        yield from (f"  {escape(defect)}" for defect in result.tap.defects)
        yield f"  how it ended: {escape(result.ended)}"
    reasons: dict[str, int] = {}
    for point in result.of(PointStatus.SKIPPED):
        reasons[point.reason] = reasons.get(point.reason, 0) + 1
    if reasons:
        yield ""
        yield "Skipped"
        yield from (f"  {count:4}  {escape(reason)}" for reason, count in reasons.items())
    yield ""
    yield "Run"
    yield f"  configuration  {escape(configuration)}"
    yield f"  QEMU           {escape(result.run.qemu)}"
    yield f"  time           {result.run.seconds:.1f} s"
    yield f"  artefacts      {escape(str(result.run.directory))}"


def to_json(result: ConformanceResult, configuration: str) -> dict[str, Any]:
    """The report as JSON."""
    return {
        "how": result.how,
        "configuration": configuration,
        "qemu": result.run.qemu,
        "directory": str(result.run.directory),
        "exit_status": result.exit_status,
        "plan": result.tap.plan,
        "complete": result.tap.complete,
        "defects": list(result.tap.defects),
        "ended": result.ended,
        "notes": list(result.tap.notes),
        "points": [
            {
                "number": point.number,
                "name": point.name,
                "status": point.status.value,
                "reason": point.reason,
                "diagnostic": dict(point.diagnostic),
            }
            for point in result.tap.points
        ],
    }


def command(options: argparse.Namespace, qemu: Path | None, host: Host | None = None) -> int:
    """`snp-harness conformance`."""
    from snp_harness.cli.progress import ProgressLine
    from snp_harness.svsm.config import DEFAULT_CONFIG

    configuration = options.svsm_config or DEFAULT_CONFIG
    boot = prepare_guest(configuration, platform=options.platform, qemu=qemu, host=host, timeout_s=options.timeout)
    options.run_directory = options.cleanup.enter_context(RunDirectory.create(options.out, options.platform))
    with ProgressLine(quiet=options.quiet) as progress:
        result = run_guest(boot, options.run_directory, progress.update)
    if options.json:
        sys.stdout.write(json.dumps(to_json(result, configuration), indent=2) + "\n")
    else:
        for line in render(result, configuration):
            print(line)
    return result.exit_status
