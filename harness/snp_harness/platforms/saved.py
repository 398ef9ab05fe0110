# SPDX-License-Identifier: GPL-2.0-or-later
"""The state of a guest that another QEMU can go on from: QEMU's, and all that was seen of the guest until then.

The log of the run before is read again by the witnesses of the run after: their verdict is about both, and what the
hypervisor has counted and summed in its memory, which is a part of the state, covers both.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from snp_harness.apic.event_kinds import RESTORED
from snp_harness.apic.timeline import Known
from snp_harness.debian.cache import file_digest
from snp_harness.errors import EXIT_INCONCLUSIVE, HarnessError, UnsupportedError, UsageError
from snp_harness.launch.ring import RecordSource
from snp_harness.vm import migration
from snp_harness.vm.qemu_errors import CannotWriteError

if TYPE_CHECKING:
    from snp_harness.capture.collect import Collector
    from snp_harness.capture.console_text import ConsoleMark
    from snp_harness.platforms.platform import RunSpec
    from snp_harness.platforms.running import Running
    from snp_harness.vm.machine_base import MachineBase
    from snp_harness.vm.rundir import RunDirectory

_STATE = "state"
_CHUNK = 1 << 20
#: Bytes of a state beside the memory: of devices, and of each 128 bytes of memory one.
_DEVICES = 64 << 20
_PAGE_SHARE = 128
#: Turns of the loop until all that a stopped guest has printed is read.
_TURNS = 10_000


class SnapshotError(HarnessError):
    """A snapshot cannot be taken of this guest, or cannot be restored."""

    exit_status = EXIT_INCONCLUSIVE


@dataclass(frozen=True, slots=True)
class SavedConsole:
    """A console at that time. marks: as those of Console, with the times of the witness, seconds."""

    name: str
    file: str
    crash: str | None
    marks: tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True)
class Saved:
    """A guest that was saved in a directory, which only its owner can read.

    size: of its files, bytes. sums: SHA-256 of each, by its name. marks: phases that a console has shown. saved_s:
    time.time() of it. resume: starts the guest again.
    """

    path: Path
    size: int
    sums: Mapping[str, str]
    marks: tuple[ConsoleMark, ...]
    consoles: tuple[SavedConsole, ...]
    saved_s: float
    resume: Resume

    @property
    def arguments(self) -> tuple[str, ...]:
        """Return QEMU's arguments of a machine for `load`."""
        return ("-S", "-incoming", "defer")

    def check(self) -> None:
        """Check that all files are as they were written. Raises SnapshotError."""
        for name, wanted in self.sums.items():
            path = self.path / name
            try:
                found = file_digest(path)
            except OSError as error:
                raise SnapshotError(f"cannot read {path}: {error.strerror}", "take the snapshot again") from None
            if found != wanted:
                raise SnapshotError(f"{path} is not what was saved", "take the snapshot again")

    def start(self, spec: RunSpec, directory: RunDirectory, stack: ExitStack) -> Running:
        """Start the guest, stopped, as Platform.start does. Raises HarnessError if it could not be started."""
        self.check()
        return self.resume(self, spec, directory, stack)

    def load(self, machine: MachineBase, timeout_s: float) -> None:
        """Load the state into a machine. Raises HarnessError."""
        migration.load(machine, _parts(self.path / _STATE), timeout_s)

    def replay(self, log: str, collector: Collector) -> Iterator[bytes]:
        """Yield the parts of a log; between them, the collector enters the phases that a console has shown there."""
        records = f"{(self.path / log).stat().st_size} bytes of {log}"
        text = f"restored from a snapshot: what is before it is read again, from {records}"
        collector.event(RESTORED, None, None, text, snapshot=str(self.path))
        marks = list(self.marks)
        with (self.path / log).open("rb") as file:
            at = 0
            while True:
                while marks and marks[0].position <= at:
                    mark = marks.pop(0)
                    collector.enter(mark.phase, None, mark.evidence, Known.CONSOLE)
                data = file.read(min(_CHUNK, marks[0].position - at) if marks else _CHUNK)
                if not data:
                    return
                at += len(data)
                yield data

    def replay_consoles(self, machine: MachineBase, collector: Collector) -> None:
        """Have the consoles of a machine that is stopped go on after what they have shown."""
        start = collector.started_at
        for saved in self.consoles:
            marks = [] if start is None else [(size, start + after_s) for size, after_s in saved.marks]
            machine.console(saved.name).go_on((self.path / saved.file).read_bytes(), saved.crash, marks)

    def remove(self) -> None:
        """Remove the directory."""
        shutil.rmtree(self.path, ignore_errors=True)


#: Starts a guest that was saved, as Platform.start.
Resume = Callable[[Saved, "RunSpec", "RunDirectory", ExitStack], "Running"]


def save(running: Running, path: Path, logs: Sequence[str], ram: int, resume: Resume, spec: RunSpec) -> Saved:
    """Save a stopped guest, whose witnesses have read all, in a new directory. logs: of the run. ram: bytes, at most.

    Raises UnsupportedError, SnapshotError, CannotWriteError, QemuError; no directory is left then.
    """
    machine, collector = running.machine, running.collector
    if not spec.host.here:
        raise UnsupportedError(running.platform, "take a snapshot", "QEMU runs on another host")
    check_disks(machine)
    for _ in range(_TURNS):
        if not machine.loop.turn(0):
            break
    try:
        path.mkdir(mode=0o700)
        with contextlib.ExitStack() as unless_saved:
            unless_saved.callback(shutil.rmtree, path, ignore_errors=True)
            sums = {_STATE: _save_state(machine, path / _STATE, ram, spec.timeout_s)}
            names = [*logs, *(console.file for console in machine.consoles.values())]
            for name in names:
                shutil.copyfile(machine.directory.file(name), path / name)
                sums[name] = file_digest(path / name)
            unless_saved.pop_all()
    except OSError as error:
        raise CannotWriteError(Path(error.filename or path), error) from None
    start = collector.started_at or 0.0
    consoles = tuple(
        SavedConsole(
            name, console.file, console.crash, tuple((size, max(0.0, read - start)) for size, read in console.marks)
        )
        for name, console in machine.consoles.items()
    )
    size = sum((path / name).stat().st_size for name in sums)
    return Saved(path, size, sums, tuple(collector.console_marks), consoles, time.time(), resume)


def log_too_long(name: str) -> SnapshotError:
    """Return the error of a run whose log has more than is kept."""
    return SnapshotError(
        f"a snapshot needs all of {name}, which became too long or could not be written", "take it earlier"
    )


class ContinuedLog:
    """A RecordSource: the log of a run before, and the ring of the run that goes on."""

    def __init__(self, before: Iterator[bytes], ring: RecordSource) -> None:
        self._before = before
        self._ring = ring
        self.arm, self.close = ring.arm, ring.close

    @property
    def exits(self) -> int:
        """#VMEXITs so far."""
        return self._ring.exits

    @property
    def lost(self) -> int:
        """Records that the host dropped."""
        return self._ring.lost

    @property
    def halted(self) -> int:
        """As of the ring."""
        return self._ring.halted

    def read(self) -> Iterator[bytes]:
        """Yield all waiting records, in batches. Raises RingError."""
        yield from self._before
        yield from self._ring.read()


def check_disks(machine: MachineBase) -> None:
    """Raise UsageError if the guest has a disk that it can write to: the state has no content of disks."""
    answer = machine.qmp.execute("query-block")
    for disk in answer if isinstance(answer, list) else []:
        inserted = disk.get("inserted")
        if inserted and not inserted.get("ro"):
            name = disk.get("device") or disk.get("qdev") or "a disk"
            raise UsageError(
                f"a snapshot has no content of disks, and the guest can write to {name}",
                "add readonly=on to its -drive",
            )


def _save_state(machine: MachineBase, path: Path, ram: int, timeout_s: float) -> str:
    """Save QEMU's state in a file, and return its SHA-256."""
    digest = hashlib.sha256()
    with path.open("xb") as file:

        def take(data: bytes) -> None:
            digest.update(data)
            file.write(data)

        migration.save(machine, take, ram + ram // _PAGE_SHARE + _DEVICES, timeout_s)
    return digest.hexdigest()


def _parts(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while data := file.read(_CHUNK):
            yield data
