# SPDX-License-Identifier: GPL-2.0-or-later
"""Running the conformance guest and reading the results of its points."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from snp_harness.conformance.image import Mode, open_guest
from snp_harness.conformance.tap import TEXT_MAX, Point, PointStatus, TapReport, parse
from snp_harness.defaults import DEFAULT_PLATFORM, DEFAULT_TIMEOUT_S
from snp_harness.errors import EXIT_HOLDS, EXIT_INCONCLUSIVE, EXIT_VIOLATED
from snp_harness.firmware_run import BootOptions, PreparedBoot, prepare
from snp_harness.hosts.local import LOCAL
from snp_harness.vm import rundir
from snp_harness.vm.rundir import RunDirectory

if TYPE_CHECKING:
    from snp_harness.firmware_run import RunResult
    from snp_harness.hosts.host import Host
    from snp_harness.platforms.platform import Progress
    from snp_harness.svsm.config import SvsmConfig

#: The guest needs little memory, and the SVSM has less to validate.
MEMORY_MIB = 128
#: For the points that need another vCPU.
VCPUS = 2


@dataclass(frozen=True, slots=True)
class ConformanceResult:
    """The result of a run. tap: the points. run: the run itself. how: how the result was obtained."""

    tap: TapReport
    run: RunResult
    how: str

    def of(self, status: PointStatus) -> tuple[Point, ...]:
        """Return the points with that status."""
        return tuple(point for point in self.tap.points if point.status is status)

    @property
    def ended(self) -> str:
        """How the run ended."""
        return "; ".join(self.run.timeline.gaps)

    @property
    def exit_status(self) -> int:
        """Of the command: 1 a point failed, 3 not all of them were reported, 0 none failed."""
        if self.of(PointStatus.FAILED):
            return EXIT_VIOLATED
        return EXIT_HOLDS if self.tap.complete else EXIT_INCONCLUSIVE

    @property
    def verdict(self) -> str:
        """The result in one line."""
        counts = ", ".join(f"{len(self.of(status))} {status.value}" for status in PointStatus)
        words = {EXIT_HOLDS: "conforms", EXIT_VIOLATED: "does not conform", EXIT_INCONCLUSIVE: "inconclusive"}
        return f"{words[self.exit_status]}: {counts} ({self.how})"


def run_conformance(
    svsm: SvsmConfig,
    mode: Mode = None,
    *,
    platform: str = DEFAULT_PLATFORM,
    vcpus: int = 0,
    qemu: Path | None = None,
    host: Host = LOCAL,
    out: Path | None = None,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    icount: bool = False,
    progress: Progress | None = None,
) -> ConformanceResult:
    """Run the conformance guest under an SVSM configuration.

    mode: None for its points, or Ticks or Fuzz. vcpus: of the guest; 0: two for its points, if the configuration has
    several, otherwise one. Points that need another vCPU are skipped with one. The others: as for `run`.
    Raises HarnessError if the run cannot start or ends early; a guest that fails, hangs or crashes is a result.
    """
    boot = prepare_guest(svsm, mode, platform, vcpus=vcpus, qemu=qemu, host=host, timeout_s=timeout_s, icount=icount)
    with RunDirectory.create(out, platform) as directory:
        return run_guest(boot, directory, progress)


def prepare_guest(
    config: SvsmConfig | str, mode: Mode = None, platform: str = DEFAULT_PLATFORM, **options: Unpack[BootOptions]
) -> PreparedBoot:
    """Prepare the boot of the conformance guest, as `prepare` does; memory and end of the run are the guest's own.

    vcpus: as for `run_conformance`.
    """
    vcpus = options.pop("vcpus", 0)
    options["memory_mib"] = MEMORY_MIB
    options["until"] = "shell"
    boot = prepare(open_guest(mode), platform, config, **options)
    if not vcpus:
        vcpus = VCPUS if mode is None and boot.spec.svsm.several_vcpus else 1
    return dataclasses.replace(boot, spec=dataclasses.replace(boot.spec, vcpus=vcpus))


def run_guest(boot: PreparedBoot, directory: RunDirectory, progress: Progress | None = None) -> ConformanceResult:
    """Run what `prepare_guest` has prepared, and read the points from its console. Raises as `run_conformance`."""
    result = boot.run(directory, progress)
    if result.error is not None:
        raise result.error
    with directory.file(rundir.SERIAL).open(encoding="ascii", errors="replace", newline="") as console:
        text = console.read(TEXT_MAX + 1)
    directory.write_text(rundir.TAP, text)
    return ConformanceResult(parse(text), result, boot.platform.observed_on)
