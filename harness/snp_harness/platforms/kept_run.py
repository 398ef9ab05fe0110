# SPDX-License-Identifier: GPL-2.0-or-later
"""The timeline of a run whose harness was killed: made again from the raw log, as far as that was written.

What it needs besides is written before QEMU is started: the firmware is in the launch list, the rest in run.json.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from snp_harness.errors import UsageError
from snp_harness.launch.ring import BATCH, RECORD_SIZE
from snp_harness.vm import rundir

if TYPE_CHECKING:
    from snp_harness.apic.timeline import Timeline
    from snp_harness.capture.collect import Collector
    from snp_harness.capture.vmpl_log import Step
    from snp_harness.firmware.firmware_modules import Module, ModuleAddress
    from snp_harness.platforms.platform import RunSpec
    from snp_harness.vm.rundir import RunDirectory

VERSION = 1
#: Bytes of run.json that are read.
_SIZE_MAX = 1 << 20
_HINT = "name the directory of a run on the platform emulated or tcg"


def note(
    directory: RunDirectory,
    platform: str,
    spec: RunSpec,
    *,
    offset: int = 0,
    active: bool = False,
    symbols_base: int = 0,
    restored: bool = False,
) -> None:
    """Write run.json.

    offset: of the firmware in the launch list. active: the configuration applies, as on `emulated`. symbols_base: how
    much higher the SVSM runs than its symbols say. restored: the run goes on from a snapshot.
    """
    config = spec.svsm
    kept = {
        "version": VERSION,
        "platform": platform,
        "firmware": {"path": str(spec.image.path), "offset": offset, "size": spec.image.size},
        "vcpus": spec.vcpus,
        "guest_vmpl": config.guest_vmpl,
        "alternate_injection": active and config.alternate_injection,
        "svsm": active and config.present,
        "symbols_base": symbols_base,
        "apic_protocol": active and config.apic_protocol,
        "faults": list(config.injected_faults) if active else [],
        "as_if_active": spec.as_if_active,
        "restored": restored,
    }
    directory.write_json(rundir.RUN, kept)


def asked_for(directory: Path) -> tuple[str | None, bool | None]:
    """Return the firmware's path of a run that was killed, and `as_if_active` of its RunSpec; None where it is unknown.

    Raises UsageError.
    """
    if not (directory / rundir.RUN).is_file():
        return None, None
    kept = _read(directory / rundir.RUN)
    path, assumed = kept["firmware"].get("path"), kept.get("as_if_active")
    return path if isinstance(path, str) else None, assumed if isinstance(assumed, bool) else None


def rebuild(directory: Path) -> Timeline | None:
    """Return the timeline of a run that has none, None if the directory lacks what that needs. Raises UsageError."""
    reader = open_log(directory)
    if reader is None:
        return None
    reader.more()
    return reader.finish()


def open_log(directory: Path) -> KeptLog | None:
    """Return a reader of the raw log of a run, which may go on; None without one. Raises UsageError."""
    if not (directory / rundir.RUN).is_file():
        return None
    kept = _read(directory / rundir.RUN)
    try:
        if (directory / rundir.HOST_LOG).is_file():
            return _Records(directory, kept)
        if (directory / rundir.TRACE).is_file() and kept["platform"] == "tcg":
            return _Trace(directory, kept)
    except OSError as error:
        raise UsageError(f"cannot read {error.filename}: {error.strerror}", _HINT) from None
    return None


def steps_of(directory: Path, vmpl: int) -> tuple[Iterator[Step], int]:
    """Return what a VMPL did in a run on `emulated`, from its raw log, and the base of the SVSM's symbols.

    Raises UsageError.
    """
    from snp_harness.capture.vmpl_log import steps

    if not (directory / rundir.RUN).is_file() or not (directory / rundir.HOST_LOG).is_file():
        raise UsageError(
            f"{directory} has no {rundir.RUN} and {rundir.HOST_LOG}", "name a run on the platform emulated"
        )
    kept = _read(directory / rundir.RUN)
    # Runs of earlier versions have none.
    recorded = kept.get("symbols_base", 0)
    symbols_base = recorded if type(recorded) is int else 0
    return steps(RecordFile(directory / rundir.HOST_LOG).read(), vmpl, kept["guest_vmpl"]), symbols_base


def _read(path: Path) -> dict[str, Any]:
    """Read run.json. Raises UsageError."""
    try:
        with path.open("rb") as file:
            kept = json.loads(file.read(_SIZE_MAX))
        types = {"platform": str, "vcpus": int, "guest_vmpl": int, "alternate_injection": bool, "svsm": bool}
        types |= {"apic_protocol": bool, "faults": list, "firmware": dict, "version": int}
        right = all(isinstance(kept[name], kind) for name, kind in types.items())
        right &= all(isinstance(name, str) for name in kept["faults"]) and kept["version"] == VERSION
        right &= all(isinstance(kept["firmware"][name], int) for name in ("offset", "size"))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        right = False
    if not right:
        raise UsageError(f"{path} does not describe a run of this version", _HINT)
    return dict(kept)


class _Unknown:
    """A firmware that is no longer there."""

    base = 1 << 32
    data = b""

    def locate(self, _pc: int) -> ModuleAddress | None:
        return None

    def by_identity(self, _size_of_image: int, _entry_rva: int) -> Module | None:
        return None


class RecordFile:
    """A RecordSource (snp_harness.launch.ring) of the raw log. A record that was not written to its end is left out.

    most: the number of records to read, None for all.
    """

    exits = lost = halted = 0

    def __init__(self, path: Path, most: int | None = None) -> None:
        self._path = path
        self._offset = 0
        self._end = None if most is None else most * RECORD_SIZE

    def read(self) -> Iterator[bytes]:
        """Yield batches of whole records, the next time from where it ended."""
        with self._path.open("rb") as file:
            file.seek(self._offset)
            while batch := file.read(self._size()):
                whole = batch[: len(batch) // RECORD_SIZE * RECORD_SIZE]
                self._offset += len(whole)
                yield whole

    def _size(self) -> int:
        """Return how many bytes to read next."""
        left = BATCH * RECORD_SIZE
        return left if self._end is None else min(left, self._end - self._offset)

    def arm(self) -> None:
        """Nothing follows."""

    def close(self) -> None:
        """Nothing is open."""


class KeptLog(Protocol):
    """A reader of a raw log."""

    def more(self) -> None:
        """Read what was written since. Raises UsageError."""

    def timeline(self) -> Timeline:
        """Return what was read so far, as the timeline of a run that was stopped there."""

    def finish(self) -> Timeline:
        """Return the same, with what was open at the end. Nothing can be read after it."""


class _Records:
    """The log of the emulated host."""

    def __init__(self, directory: Path, kept: dict[str, Any]) -> None:
        from snp_harness.capture.host_log import HostLog
        from snp_harness.capture.host_timeline import HostTimeline
        from snp_harness.firmware.image import FirmwareImage

        self._kept = kept
        self._collector = _collector(kept)
        self._gaps = [_gap(rundir.HOST_LOG)]
        firmware: FirmwareImage | _Unknown = _Unknown()
        offset, size = kept["firmware"]["offset"], kept["firmware"]["size"]
        launch = directory / rundir.LAUNCH
        kept_launch = launch.read_bytes() if launch.is_file() else b""
        data = kept_launch[offset : offset + size]
        if data and len(data) == size:
            firmware = FirmwareImage(launch, data)
        else:
            self._gaps.append(f"{rundir.LAUNCH} is not there: modules and phases are not known")
        launched = (lambda at, size: kept_launch[at : at + size]) if kept_launch else None
        self._host = HostTimeline(firmware, kept["guest_vmpl"], self._collector, launched=launched)
        self._log = HostLog(RecordFile(directory / rundir.HOST_LOG), self._host.take)

    def more(self) -> None:
        with _readable():
            self._log.drain()

    def timeline(self) -> Timeline:
        from snp_harness.capture.host_timeline import WITNESS

        health = self._log.health
        return self._collector.finish(
            witness=WITNESS,
            platform=self._kept["platform"],
            gaps=self._gaps + health.gaps(),
            lost=health.lost,
            not_observed=frozenset(),
            alternate_injection=self._kept["alternate_injection"],
            svsm=self._kept["svsm"],
            apic_protocol=self._kept["apic_protocol"],
            faults=tuple(self._kept["faults"]),
        )

    def finish(self) -> Timeline:
        self._host.finish()
        return self.timeline()


class _Trace:
    """QEMU's trace events."""

    def __init__(self, directory: Path, kept: dict[str, Any]) -> None:
        from snp_harness.capture.trace_timeline import TraceTimeline

        self._kept = kept
        self._collector = _collector(kept)
        self._trace = TraceTimeline(kept["vcpus"], self._collector)
        self._path = directory / rundir.TRACE
        self._offset = 0

    def more(self) -> None:
        with _readable(), self._path.open("rb") as file:
            file.seek(self._offset)
            while data := file.read(1 << 20):
                self._offset += len(data)
                self._trace.feed(data)

    def timeline(self) -> Timeline:
        from snp_harness.capture.trace_timeline import NOT_OBSERVED, WITNESS

        return self._collector.finish(
            witness=WITNESS,
            platform=self._kept["platform"],
            gaps=[_gap(rundir.TRACE)],
            lost=0,
            not_observed=NOT_OBSERVED,
            alternate_injection=self._kept["alternate_injection"],
            svsm=self._kept["svsm"],
        )

    def finish(self) -> Timeline:
        self._trace.flush()
        return self.timeline()


def _collector(kept: dict[str, Any]) -> Collector:
    from snp_harness.apic.event_kinds import RESTORED
    from snp_harness.capture.collect import Collector

    collector = Collector()
    if kept.get("restored") is True:
        collector.event(RESTORED, None, None, "restored from a snapshot, whose log is at the start of this one")
    return collector


@contextlib.contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(f"cannot read {error.filename}: {error.strerror}", _HINT) from None


def _gap(name: str) -> str:
    return f"the harness was stopped before the end of the run: made again from {name}"
