# SPDX-License-Identifier: GPL-2.0-or-later
"""One run from end to end: firmware to verdict. The command, the pytest plugin and bisecting go through here."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

from snp_harness.data import json_head
from snp_harness.debian.cache import silent
from snp_harness.defaults import DEFAULT_PLATFORM
from snp_harness.errors import HarnessError, UsageError
from snp_harness.launch.interrupts import INTERRUPTS
from snp_harness.platforms import find_platform
from snp_harness.platforms.platform import Platform, Progress, RunOutcome, RunSpec, goal_name
from snp_harness.vm import rundir
from snp_harness.vm.qemu_errors import CannotWriteError, NotQemuError, QemuMissingError, QemuTooOldError
from snp_harness.vm.rundir import RunDirectory

if TYPE_CHECKING:
    from collections.abc import Callable

    from snp_harness.apic.access import Phase
    from snp_harness.apic.source_place import SourcePlace
    from snp_harness.apic.timeline import Timeline
    from snp_harness.apic.verdict import RuleResult, Verdict
    from snp_harness.capture.goal import Until
    from snp_harness.firmware.image import FirmwareImage
    from snp_harness.hosts.host import Host
    from snp_harness.platforms.saved import Saved
    from snp_harness.platforms.session import Ending, Session
    from snp_harness.svsm.config import SvsmConfig

__all__ = ["BootOptions", "GuestOptions", "PreparedBoot", "RunResult", "RunSpec", "prepare", "run"]


@dataclass(frozen=True, slots=True)
class RunResult:
    """The result of a run.

    verdict, timeline: of what was seen until the end of the run. directory: the run directory. error: what ended the
    run early, None if nothing did. seconds: wall time of the run. qemu: its version and path. second: the timeline of
    another witness of the same run, None if there was none; the verdict is about `timeline`. sources: of the offences'
    instructions, where the firmware's debug files have them. notes: sentences for the reader.
    """

    verdict: Verdict
    timeline: Timeline
    directory: Path
    error: HarnessError | None = None
    seconds: float = 0.0
    qemu: str = ""
    second: Timeline | None = None
    sources: tuple[SourcePlace, ...] = ()
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<RunResult {self.verdict.status.value}, in {self.directory}>"

    @property
    def exit_status(self) -> int:
        """Of the command: the error's, else by the verdict 0 holds or does not apply, 1 violated, 3 inconclusive."""
        from snp_harness.apic.verdict import EXIT_STATUS

        return EXIT_STATUS[self.verdict.status] if self.error is None else self.error.exit_status


class GuestOptions(TypedDict, total=False):
    """The fields of RunSpec, without firmware, configuration and goal."""

    vcpus: int
    memory_mib: int | None
    timeout_s: float
    qemu: Path | None
    extra_args: tuple[str, ...]
    icount: bool
    host: Host
    as_if_active: bool | None
    svsm_symbols: tuple[Path, ...]
    rules: tuple[str, ...]
    fail_fast: bool
    symbols: tuple[Path, ...]


class BootOptions(GuestOptions, total=False):
    """The fields of RunSpec, without firmware and configuration."""

    until: Until | str


@dataclass(frozen=True, slots=True)
class PreparedBoot:
    """A boot with all that is known of it before there is a machine.

    spec: its firmware is opened. configuration: the name or path of the configuration and the IGVM file, None on a
    platform that has none and for a configuration that is a value. saved: the guest to go on with, None for a new one.
    """

    platform: Platform
    spec: RunSpec
    configuration: str | None = None
    saved: Saved | None = None

    def run(
        self,
        directory: RunDirectory,
        progress: Progress | None = None,
        broken: Callable[[RuleResult], None] | None = None,
    ) -> RunResult:
        """Boot, and judge what is seen. The caller creates the directory and releases it.

        broken: called once, with the first rule that is broken for certain, as soon as that is seen.
        Raises HarnessError if the run cannot start, and KeyboardInterrupt when the user ends it; timeline and verdict
        of what was seen are written before.
        """
        with INTERRUPTS.scope():

            def judge(timeline: Timeline) -> RuleResult | None:
                from snp_harness.apic.contract import certain

                return certain(self.judge(timeline))

            judged = judge if self.spec.fail_fast or broken is not None else None
            return self.follow(
                directory, lambda session: session.run(progress or _silent, judged, broken), goal_name(self.spec.until)
            )

    def follow(self, directory: RunDirectory, follow: Callable[[Session], Ending], until: str = "") -> RunResult:
        """Start the guest, call `follow` with it, which returns how it ended, and judge what was seen.

        until: where `follow` ends it, for the timeline. Raises as `run`.
        """
        started = time.monotonic()
        try:
            outcome = self._outcome(directory, follow)
        except (UsageError, QemuMissingError, NotQemuError, QemuTooOldError):
            directory.discard()
            raise
        seconds = time.monotonic() - started
        outcome = dataclasses.replace(outcome, timeline=dataclasses.replace(outcome.timeline, until=until))
        from snp_harness.capture.after_goal import judge_run

        judged = judge_run(outcome.timeline, outcome.seen, self.judge)
        timeline, verdict = judged.timeline, judged.verdict
        where = {**self.spec.host.facts(), **outcome.facts}
        facts = {
            "platform": self.platform.name,
            "qemu": outcome.qemu,
            "seconds": round(seconds, 3),
            "firmware": str(self.spec.image.path),
            "configuration": self.configuration,
            "as_if_active": self.as_if_active,
            "rules": list(self.spec.rules),
            "error": None if outcome.error is None else outcome.error.message,
            "after_goal": judged.to_json(),
            **where,
        }
        writes: list[Callable[[], None]] = [
            lambda: directory.write_json(rundir.VERDICT, json_head("verdict") | verdict.to_json()),
            lambda: directory.write_lines(rundir.TIMELINE, timeline.lines()),
            lambda: directory.write_environment(**facts),
        ]
        if outcome.second is not None:
            second = outcome.second
            writes.insert(2, lambda: directory.write_lines(rundir.SECOND_TIMELINE, second.lines()))
        sources, notes = _sources(self.spec, verdict)
        if sources:
            listed = [place.to_json() for place in sources]
            writes.append(lambda: directory.write_json(rundir.SOURCES, json_head("sources") | {"sources": listed}))
        error = outcome.error
        for write in writes:
            try:
                directory.make_room_for(write)
            except CannotWriteError as cannot:
                error = error or cannot
        if outcome.interrupt is not None:
            raise outcome.interrupt
        if judged.note:
            notes = (judged.note, *notes)
        return RunResult(
            verdict, timeline, directory.path, error, seconds, outcome.qemu, outcome.second, sources, notes
        )

    def _outcome(self, directory: RunDirectory, follow: Callable[[Session], Ending]) -> RunOutcome:
        with contextlib.ExitStack() as stack:
            start = self.platform.start if self.saved is None else self.saved.start
            running = start(self.spec, directory, stack)
            from snp_harness.platforms.session import Session

            session = Session(running, self.spec)
            if self.saved is not None:
                self.saved.replay_consoles(running.machine, running.collector)
            return dataclasses.replace(running.finish(follow(session)), seen=running.collector)

    @property
    def as_if_active(self) -> bool:
        """Whether a run without Alternate Injection is judged as if it were active."""
        assumed = self.spec.as_if_active
        return not self.platform.alternate_injection if assumed is None else assumed

    def judge(self, timeline: Timeline) -> Verdict:
        """Return the verdict on a timeline of this boot."""
        # Imported here, not before QEMU is started, to start it early. By now the command has loaded it.
        from snp_harness.apic.contract import evaluate

        return evaluate(
            timeline, observed_on=self.platform.observed_on, as_if_active=self.as_if_active, chosen=self.spec.rules
        )


def prepare(
    firmware: FirmwareImage | str | Path | None,
    platform: str,
    config: SvsmConfig | str | Path | None,
    notify: Callable[[str], None] = silent,
    *,
    igvm: Path | None = None,
    **options: Unpack[BootOptions],
) -> PreparedBoot:
    """Prepare a boot: find the platform, load the configuration, find and open the firmware.

    firmware: an image, a path, a name such as "debian:trixie", or None for the default: with an IGVM file, the one in
    it. config: a configuration, or the path or name of one, or None for the default: with an IGVM file, Alternate
    Injection is as in it. notify: called with each line about a download. igvm: an IGVM file to launch in place of the
    reference SVSM. options: the other fields of RunSpec.
    Raises UsageError for what cannot be run, FirmwareError for the image, FetchError if it cannot be fetched.
    """
    from snp_harness.firmware.find import open_firmware
    from snp_harness.firmware.image import FirmwareImage
    from snp_harness.svsm.config import SvsmConfig
    from snp_harness.svsm.config_files import DEFAULT_CONFIG, load_config, with_igvm

    found = find_platform(platform)
    named = _shown(config, igvm) if found.configurable else None
    svsm = config if isinstance(config, SvsmConfig) else load_config(config or DEFAULT_CONFIG)
    if igvm is not None:
        if not found.configurable:
            raise UsageError(
                f"the platform {found.name} launches no IGVM file",
                f"use --platform {DEFAULT_PLATFORM}, or name the firmware alone with --firmware",
            )
        from snp_harness.svsm.igvm_guest import open_guest

        guest = open_guest(igvm)
        svsm = with_igvm(svsm, igvm, alternate_injection=guest.alternate_injection if config is None else None)
        firmware = guest.image if firmware is None else firmware
    if not isinstance(firmware, FirmwareImage):
        firmware = open_firmware(firmware, notify, svsm=svsm.present)
    return PreparedBoot(found, RunSpec(firmware, svsm=svsm, **options), named)


def _shown(config: SvsmConfig | str | Path | None, igvm: Path | None) -> str | None:
    """Return the configuration and the IGVM file as they were named."""
    from snp_harness.svsm.config_files import DEFAULT_CONFIG

    named = [str(part) for part in (config, igvm) if isinstance(part, (str, Path))]
    return ", ".join(named) or (DEFAULT_CONFIG if config is None else None)


def run(
    spec: RunSpec, platform: str = DEFAULT_PLATFORM, out: Path | None = None, progress: Progress | None = None
) -> RunResult:
    """Run `spec` on a platform and judge what is seen.

    platform: its name. out: the run directory, None for a new one under runs/. progress: called about four times a
    second (snp_harness.platforms.platform.Progress).
    Raises UsageError for a run that cannot be, FirmwareError for an image that cannot be used, BrokenEnvironmentError
    if something is missing on the machine, other HarnessErrors if the run cannot start, and KeyboardInterrupt when the
    user ends it; timeline and verdict of what was seen are written before. A run that ends early does not raise: see
    RunResult.error.
    """
    boot = PreparedBoot(find_platform(platform), dataclasses.replace(spec, firmware=spec.image))
    with RunDirectory.create(out, platform) as directory:
        return boot.run(directory, progress)


def _sources(spec: RunSpec, verdict: Verdict) -> tuple[tuple[SourcePlace, ...], tuple[str, ...]]:
    """Return the source of the offences' instructions, and notes about what --symbols names in vain."""
    offences = [access for result in verdict.results for access in result.offences]
    if not offences:
        return (), ()
    from snp_harness.firmware.debug_directories import own_directories

    directories = (*spec.symbols, *own_directories(spec.image.path))
    if not directories:
        return (), ()
    from snp_harness.firmware.source_lines import SourceLines

    lines = SourceLines(spec.image, directories)
    places = lines.places(offences)
    return places, tuple(lines.notes) if spec.symbols else ()


def _silent(_phase: Phase, _accesses: int, _exits: int | None) -> None:
    """No progress."""
