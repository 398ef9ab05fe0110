# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs of the points until all were reached: a point that ends the run is left out of the next one."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from snp_harness.apic.event_kinds import END_KINDS, UNANSWERED_CALL
from snp_harness.conformance.guest_run import ConformanceResult, prepare_guest, run_guest
from snp_harness.conformance.image import Mode, open_guest
from snp_harness.conformance.known import NONE_KNOWN, KnownFailures
from snp_harness.conformance.reports import to_junit, to_tap
from snp_harness.conformance.tap import Point, PointStatus
from snp_harness.defaults import DEFAULT_AGAIN, DEFAULT_PLATFORM, DEFAULT_TIMEOUT_S
from snp_harness.hosts.local import LOCAL
from snp_harness.vm import rundir
from snp_harness.vm.rundir import RunDirectory

if TYPE_CHECKING:
    from snp_harness.firmware_run import PreparedBoot
    from snp_harness.hosts.host import Host
    from snp_harness.platforms.platform import Progress
    from snp_harness.svsm.config import SvsmConfig


def run_conformance(
    svsm: SvsmConfig | None,
    mode: Mode = None,
    *,
    igvm: Path | None = None,
    platform: str = DEFAULT_PLATFORM,
    vcpus: int = 0,
    qemu: Path | None = None,
    host: Host = LOCAL,
    out: Path | None = None,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    icount: bool = False,
    progress: Progress | None = None,
    again: int = DEFAULT_AGAIN,
    skip: Sequence[str] = (),
    known: KnownFailures = NONE_KNOWN,
) -> ConformanceResult:
    """Run the conformance guest under an SVSM configuration, or with None under the SVSM of an IGVM file.

    mode: None for its points, or Ticks or Fuzz. vcpus: of the guest; 0: two for its points, if the configuration has
    several, otherwise one. Points that need another vCPU are skipped with one. again, skip: as for `run_points`. known:
    failures that are expected. The others: as for `run`.
    Raises HarnessError if a run cannot start or ends early; a guest that fails, hangs or crashes is a result.
    """
    boot = prepare_guest(
        svsm, mode, platform, igvm=igvm, vcpus=vcpus, qemu=qemu, host=host, timeout_s=timeout_s, icount=icount
    )
    with RunDirectory.create(out, platform) as directory:
        if mode is not None:
            return run_mode(boot, mode, directory, progress, skip=skip)
        return run_points(boot, directory, progress, again=again, skip=skip, known=known)


def run_points(
    boot: PreparedBoot,
    directory: RunDirectory,
    progress: Progress | None = None,
    *,
    again: int = DEFAULT_AGAIN,
    skip: Sequence[str] = (),
    known: KnownFailures = NONE_KNOWN,
) -> ConformanceResult:
    """Run the points of what `prepare_guest` has prepared; again without a point that ended the run, `again` times.

    The result is the last run's, with the points that ended the runs before, of which each has a directory of its own.
    skip: points that do not run. known: failures that are expected. Raises as `run_guest`.
    """
    ended: list[Point] = []
    result = run_guest(_without(boot, skip), directory, progress)
    while ends_in_a_point(result) and len(ended) < again:
        ended.append(_ended_the_run(result))
        name = f"{directory.path.name}-again-{len(ended)}"
        with RunDirectory.create(directory.path.with_name(name), boot.platform.name) as another:
            result = run_guest(_without(boot, [*skip, *(point.name for point in ended)]), another, progress)
    if ends_in_a_point(result):
        ended.append(_ended_the_run(result))
    whole = dataclasses.replace(_with(result, ended), known=known)
    directory.write_text(rundir.TAP_RESULTS, to_tap(whole))
    directory.write_text(rundir.JUNIT, to_junit(whole))
    return whole


def run_mode(
    boot: PreparedBoot,
    mode: Mode,
    directory: RunDirectory,
    progress: Progress | None = None,
    *,
    skip: Sequence[str] = (),
) -> ConformanceResult:
    """Run what `prepare_guest` has prepared for another mode than its points. Raises as `run_guest`.

    skip: SVSM calls that Fuzz does not make, as "call/PROTOCOL/NUMBER".
    """
    result = run_guest(_without(boot, skip, mode), directory, progress)
    return _with(result, [_ended_the_run(result)] if ends_in_a_point(result) else [])


def ends_in_a_point(result: ConformanceResult) -> bool:
    """Whether a run has ended in a point. What a point that was running at the timeout does is not known."""
    ended = any(event.kind in END_KINDS for event in result.run.timeline.events)
    return ended and bool(result.tap.begun) and not result.tap.ended


def _without(boot: PreparedBoot, skip: Sequence[str], mode: Mode = None) -> PreparedBoot:
    return dataclasses.replace(boot, spec=dataclasses.replace(boot.spec, firmware=open_guest(mode, skip)))


def _ended_the_run(result: ConformanceResult) -> Point:
    """Return the point that was running at the end, with what is known of the end."""
    calls = [event.text for event in result.run.timeline.events if event.kind == UNANSWERED_CALL]
    diagnostic = [("message", result.ended or "the run ended")]
    diagnostic += [("call", text) for text in calls]
    diagnostic.append(("run", str(result.run.directory)))
    return Point(len(result.tap.points) + 1, result.tap.begun, PointStatus.ENDED_THE_RUN, diagnostic=tuple(diagnostic))


def _with(result: ConformanceResult, ended: Sequence[Point]) -> ConformanceResult:
    """Return a result with these points: they replace those that were skipped for them, or follow the last one."""
    by_name = {point.name: point for point in ended}
    points = [by_name.pop(point.name, point) for point in result.tap.points]
    points += by_name.values()
    return dataclasses.replace(result, tap=dataclasses.replace(result.tap, points=tuple(points)))
