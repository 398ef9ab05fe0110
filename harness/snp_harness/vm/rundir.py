# SPDX-License-Identifier: GPL-2.0-or-later
"""The directory of a run and its files."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from snp_harness.data import json_head
from snp_harness.errors import UsageError
from snp_harness.vm.qemu_errors import CannotWriteError
from snp_harness.vm.run_lock import RunLock
from snp_harness.vm.run_parent import DEFAULT_PARENT, Latest, make_parent, remove_parent

RUN = "run.json"
COMMAND_LINE = "command-line.txt"
SERIAL = "serial.log"
SVSM = "svsm.log"
STDERR = "qemu-stderr.log"
HOST_LOG = "host.log"
TRACE = "trace.log"
ROM = "snp.rom"
LAUNCH = "snp.launch"
IGVM = "snp.igvm"
CERTIFICATES = ("ark.pem", "ask.pem", "vcek.pem")
TIMELINE = "timeline.jsonl"
SECOND_TIMELINE = "timeline-qemu.jsonl"
VERDICT = "verdict.json"
SOURCES = "sources.json"
PROFILE = "profile.json"
ENVIRONMENT = "environment.json"
TRACEBACK = "traceback.txt"
TAP = "tap.log"
TAP_RESULTS = "results.tap"
JUNIT = "junit.xml"
CONSOLES = "consoles.json"
OUTER_COMMAND_LINE = "outer-command-line.txt"
OUTER_CONSOLE = "outer-console.log"
OUTER_STDERR = "outer-qemu-stderr.log"
#: All files that a run writes.
FILES = (
    RUN,
    COMMAND_LINE,
    SERIAL,
    SVSM,
    STDERR,
    HOST_LOG,
    TRACE,
    ROM,
    LAUNCH,
    IGVM,
    *CERTIFICATES,
    TIMELINE,
    SECOND_TIMELINE,
    VERDICT,
    SOURCES,
    PROFILE,
    ENVIRONMENT,
    TRACEBACK,
    TAP,
    TAP_RESULTS,
    JUNIT,
    CONSOLES,
    OUTER_COMMAND_LINE,
    OUTER_CONSOLE,
    OUTER_STDERR,
)

#: Files that are written before QEMU is started: a directory with nothing else, but empty files, had no run.
PREPARED = frozenset({RUN, ROM, LAUNCH, IGVM, *CERTIFICATES})

#: Files that are removed, in this order, if the disk is full and the result needs their place: what can be made again,
#: then what the timeline was made of, then consoles.
GIVE_WAY = (ROM, LAUNCH, IGVM, TRACE, HOST_LOG, OUTER_CONSOLE, SVSM, SERIAL)
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
#: Environment variables that a run depends on (docs/environment.md).
VARIABLES = (
    "SNP_HARNESS_QEMU",
    "SNP_HARNESS_IGVM",
    "SNP_HARNESS_SUDO",
    "SNP_HARNESS_NESTED_SUITE",
    "SNP_HARNESS_EXITS",
)


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """A directory of one run, and a context manager that releases it. path: absolute.

    A directory that is made can be read by its owner only; one that the user made keeps its mode. Until `release`, at
    most as long as the object exists, no other run can use it. The methods that write raise CannotWriteError.
    """

    path: Path
    _lock: RunLock = field(repr=False, compare=False)
    _latest: Latest | None = field(default=None, repr=False, compare=False)
    _made_parent: bool = field(default=False, repr=False, compare=False)
    _made: bool = field(default=True, repr=False, compare=False)
    _inputs: dict[Path, int] = field(default_factory=dict, init=False, repr=False, compare=False)

    @classmethod
    def create(cls, out: Path | None, platform_name: str, parent: Path = DEFAULT_PARENT) -> RunDirectory:
        """Use the directory `out`, or make one in `parent`, named by time and platform; `parent`/latest points to it.

        `out` may exist if it is empty or holds an earlier run, which is deleted. Raises UsageError.
        """
        try:
            return _take(out) if out is not None else _make(parent, platform_name)
        except OSError as error:
            raise UsageError(
                f"cannot make the run directory {error.filename}: {error.strerror}", "name another with --out"
            ) from None

    def release(self) -> None:
        """End the use of the directory: another run may use it. May be called again.

        If there was no run, nothing is left: a directory that was made is removed, and `latest` points to what it
        pointed to before. A parent that was made for it is removed too, if it holds nothing else.
        """
        while self._inputs:
            path, fd = self._inputs.popitem()
            os.close(fd)
            with contextlib.suppress(OSError):
                path.unlink()
        if self._lock.held:
            with contextlib.suppress(OSError):
                self._remove_unless_run()
        self._lock.release()

    # An object that is dropped is released: the lock of its directory ends with it, so that another run may use it.
    __del__ = release

    def __enter__(self) -> RunDirectory:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    @property
    def has_run(self) -> bool:
        """Whether anything of a run is in the directory."""
        try:
            return any(entry.name not in PREPARED and entry.lstat().st_size for entry in self.path.iterdir())
        except OSError:
            return False

    def discard(self) -> None:
        """Remove what was written, because the run was refused after it had begun."""
        for name in FILES:
            self.file(name).unlink(missing_ok=True)

    def _remove_unless_run(self) -> None:
        if self.has_run:
            return
        self.discard()
        if self._made:
            self.path.rmdir()
        if self._latest is not None:
            self._latest.restore(self.path)
        if self._made_parent:
            remove_parent(self.path.parent)

    def file(self, name: str) -> Path:
        """Return the path of one of its files."""
        return self.path / name

    def open_binary(self, name: str) -> BinaryIO:
        """Open a file for writing."""
        try:
            return self.file(name).open("wb")
        except OSError as error:
            raise CannotWriteError(self.file(name), error) from None

    def write_bytes(self, name: str, data: bytes) -> None:
        """Write a file."""
        try:
            self.file(name).write_bytes(data)
        except OSError as error:
            raise CannotWriteError(self.file(name), error) from None

    def write_input(self, name: str, data: bytes) -> None:
        """Write a file that QEMU reads, as `write_input_parts` does."""
        self.write_input_parts(name, ((0, data),), len(data))

    def write_input_parts(self, name: str, parts: Iterable[tuple[int, bytes]], size: int) -> None:
        """Write a file that QEMU reads. If the disk is full, it is a link to a file in memory, until `release`.

        parts: offset and data; what is between them, up to `size` bytes, are holes, which read as zeros.
        """
        path = self.file(name)
        try:
            with path.open("wb") as file:
                _write_parts(file, parts, size)
        except OSError as error:
            if error.errno not in _FULL:
                raise CannotWriteError(path, error) from None
        else:
            return
        fd = os.memfd_create(name)
        try:
            with open(fd, "wb", closefd=False) as file:
                _write_parts(file, parts, size)
            path.unlink(missing_ok=True)
            path.symlink_to(f"/proc/{os.getpid()}/fd/{fd}")
        except OSError as error:
            os.close(fd)
            raise CannotWriteError(path, error) from None
        self._inputs[path] = fd

    def make_room_for(self, write: Callable[[], None]) -> None:
        """Write a result; if the disk is full, it replaces what is worth less."""
        for name in GIVE_WAY:
            try:
                write()
            except CannotWriteError as error:
                if error.number not in _FULL:
                    raise
            else:
                return
            with contextlib.suppress(OSError):
                self.file(name).unlink()
        write()

    def write_json(self, name: str, data: object) -> None:
        """Write a JSON file, completely or not at all."""
        self.write_text(name, json.dumps(data, indent=2) + "\n")

    def write_text(self, name: str, text: str) -> None:
        """Write a text file, completely or not at all."""
        self.write_lines(name, [text])

    def write_lines(self, name: str, lines: Iterable[str]) -> None:
        """Write a text file as `write_text` does, without the whole text in memory."""
        temporary = self.file(f".{name}.new")
        try:
            # Paths are bytes: those that are not UTF-8 are written unchanged.
            with temporary.open("w", encoding="utf-8", errors="surrogateescape") as file:
                file.writelines(lines)
            temporary.replace(self.file(name))
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise CannotWriteError(self.file(name), error) from None

    def write_environment(self, **facts: Any) -> None:
        """Record what the run depended on: harness, Python and kernel, and the facts of the caller."""
        from snp_harness.version import build  # not before QEMU is started, to start it early

        harness = build()
        environment: dict[str, Any] = {
            **json_head("environment"),
            "snp_harness": harness.version,
            "commit": harness.commit,
            "modified": harness.modified,
            "python": platform.python_version(),
            "kernel": os.uname().release,
            "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "argv": sys.argv,
            "variables": variables(),
        }
        self.write_json(ENVIRONMENT, environment | facts)


def variables() -> dict[str, str]:
    """Return the environment variables that a run depends on, as they are set."""
    return {name: os.environ[name] for name in VARIABLES if name in os.environ}


def _write_parts(file: BinaryIO, parts: Iterable[tuple[int, bytes]], size: int) -> None:
    for offset, data in parts:
        file.seek(offset)
        file.write(data)
    file.truncate(size)


def _take(path: Path) -> RunDirectory:
    """Use the directory that the user named."""
    path = path.absolute()
    made = True
    try:
        path.mkdir(mode=0o700, parents=True)
    except FileExistsError:
        made = False
        if not path.is_dir():
            raise UsageError(f"{path} is not a directory", "name another with --out") from None
    lock = RunLock(path)
    # A FIFO belongs to a console of a run that was killed.
    fifos = [entry for entry in path.iterdir() if entry.is_fifo()]
    present = {entry.name for entry in path.iterdir()} - {entry.name for entry in fifos}
    foreign = sorted(present - set(FILES) - {f".{name}.new" for name in FILES})
    if foreign:
        raise UsageError(f"{path} holds other files ({foreign[0]!a})", "name a new or empty directory with --out")
    if not os.access(path, os.W_OK | os.X_OK):
        raise UsageError(f"{path} cannot be written to", "name another directory with --out")
    for entry in (*fifos, *(path / name for name in present)):
        entry.unlink()
    return RunDirectory(path, lock, _made=made)


def _make(parent: Path, platform_name: str) -> RunDirectory:
    """Make a directory, with a number if several runs start in the same second."""
    parent = parent.absolute()
    made_parent = not parent.exists()
    make_parent(parent)
    stem = f"{time.strftime('%Y%m%d-%H%M%S')}-{platform_name}"
    number = 1
    while True:
        path = parent / (stem if number == 1 else f"{stem}-{number}")
        try:
            path.mkdir(mode=0o700)
        except FileExistsError:
            number += 1
            continue
        except FileNotFoundError:
            # A run that was refused has just removed it.
            make_parent(parent)
            continue
        return RunDirectory(path, RunLock(path), Latest.point(parent, path), made_parent)
