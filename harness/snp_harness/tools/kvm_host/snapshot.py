# SPDX-License-Identifier: GPL-2.0-or-later
"""Snapshots of the outer machine, taken when its program is ready: a run starts where the boot ended.

The machine's memory is a file, which QEMU maps; a run maps it privately, so that any number of runs can share it and
none changes it. The state of the devices is a migration stream of some 300 KB, without the memory (QEMU's migration
capability x-ignore-shared). A snapshot fits one QEMU, image and command line: their hash is its name.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import shutil
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from snp_harness.debian.cache import TEMPORARY, Progress, locked, remove, writing
from snp_harness.errors import BrokenEnvironmentError
from snp_harness.hosts import bundle
from snp_harness.tools.kvm_host.outer import BAD_PATTERNS, CONSOLE, EARLY, LOADED, PORT, Outer
from snp_harness.vm import migration
from snp_harness.vm.machine import Machine
from snp_harness.vm.machine_base import Devices
from snp_harness.vm.rundir import RunDirectory

#: Seconds that the boot may take, and QEMU to write or read the state.
BOOT_S = 180.0
_STATE_S = 60.0
_STATE_MAX = 64 << 20
#: Memory that is written while it boots, with room: what the disk has to take.
_DISK_MIB = 400
#: Of one image: of memory sizes and versions of QEMU.
_KEPT = 3
_DIRECTORY = "snapshots"
_MEMORY = "memory"
_STATE = "state"
_CAPABILITIES = [{"capability": "x-ignore-shared", "state": True}]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot that is complete."""

    directory: Path

    @property
    def memory(self) -> Path:
        """The file of the memory."""
        return self.directory / _MEMORY

    def discard(self) -> None:
        """Remove a snapshot that does not work; it is made again at its next use."""
        remove(self.directory)

    def load(self, machine: Machine) -> None:
        """Bring a machine that was started with -incoming defer to the snapshot; it runs then.

        Raises QemuError; OSError if the state cannot be read.
        """
        state = (self.directory / _STATE).read_bytes()
        machine.qmp.execute("migrate-set-capabilities", capabilities=_CAPABILITIES)
        migration.load(machine, [state], _STATE_S)
        machine.qmp.execute("cont")
        with contextlib.suppress(OSError):
            # The oldest goes when there are too many.
            os.utime(self.directory)


def snapshot_of(outer: Outer, progress: Progress) -> Snapshot:
    """The snapshot of a machine; it is made if there is none. Raises HarnessError."""
    directory = outer.image.directory / _DIRECTORY / _key(outer)
    if not directory.is_dir():
        with locked(outer.image.directory / f"{_DIRECTORY}.lock", progress):
            if not directory.is_dir():
                progress("booting the nested host once, for a snapshot")
                _make(outer, directory)
    return Snapshot(directory)


def _key(outer: Outer) -> str:
    """TCG's clock is the processor's: a snapshot is of one machine."""
    binary = outer.binary
    agent = hashlib.sha256(bundle.payload()).hexdigest()
    parts = (binary.version_text, *binary.prefix, *outer.arguments(), str(outer.image.directory), _processor(), agent)
    return hashlib.sha256("\0".join(parts).encode(errors="surrogateescape")).hexdigest()[:16]


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line
    return platform.processor()


def _make(outer: Outer, directory: Path) -> None:
    parent = directory.parent
    with writing(parent):
        parent.mkdir(exist_ok=True)
        for left in parent.glob(f"{TEMPORARY}*"):
            remove(left)
        if shutil.disk_usage(parent).free < _DISK_MIB << 20:
            raise BrokenEnvironmentError(f"{parent} has no {_DISK_MIB} MiB for a snapshot", "free some space there")
        temporary = Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=parent))
    try:
        with _run_directory() as run:
            state = _boot_and_save(outer, temporary / _MEMORY, run)
        with writing(parent):
            (temporary / _STATE).write_bytes(state)
            temporary.rename(directory)
        drop_oldest(parent)
    finally:
        remove(temporary)


def drop_oldest(parent: Path) -> None:
    """Keep the snapshots used last. A run that uses one has its memory open, and keeps it."""
    with writing(parent):
        kept = sorted(parent.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
        for old in kept[_KEPT:]:
            remove(old)


@contextlib.contextmanager
def _run_directory() -> Iterator[RunDirectory]:
    """Where the machine that is saved leaves its logs: nobody wants them but in an error's message."""
    with tempfile.TemporaryDirectory(prefix="snp-harness-") as name:
        run = RunDirectory.create(Path(name), "nested")
        try:
            yield run
        finally:
            run.release()


def _boot_and_save(outer: Outer, memory: Path, run: RunDirectory) -> bytes:
    devices = Devices(consoles={CONSOLE: "console.log"}, channels=[PORT])
    with Machine(outer.binary, outer.arguments(memory, shared=True), run, devices, BAD_PATTERNS) as machine:
        # The agent is in the snapshot as well: it need not be compiled in each run.
        _send(machine, EARLY + bundle.payload())
        machine.console(CONSOLE).expect(LOADED, BOOT_S)
        machine.qmp.execute("stop")
        machine.qmp.execute("migrate-set-capabilities", capabilities=_CAPABILITIES)
        state = bytearray()
        migration.save(machine, state.extend, _STATE_MAX, _STATE_S)
        return bytes(state)


def _send(machine: Machine, content: bytes) -> None:
    """To the program in the machine, which takes it when it is there: in a thread, since a socket holds less."""
    connection = machine.channel(PORT).dup()

    def send() -> None:
        with connection, contextlib.suppress(OSError):
            connection.setblocking(True)
            connection.sendall(content)

    threading.Thread(target=send, name="agent", daemon=True).start()
