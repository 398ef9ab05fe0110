# SPDX-License-Identifier: GPL-2.0-or-later
"""One QEMU: its descriptors, its process, and the end of both.

Whoever starts a QEMU, the harness itself or its agent on another machine, does it here.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from snp_harness.launch import tokens
from snp_harness.launch.fifo import ConsoleFifo, enlarge, fifo_name
from snp_harness.launch.loop import Loop
from snp_harness.launch.shared_memory import shared_memory
from snp_harness.launch.spawn import spawn

#: Seconds that a process that was killed may take to end.
_KILL_S = 30.0


class LaunchError(Exception):
    """QEMU could not be started. what: what failed. cause: the kernel's error."""

    def __init__(self, what: str, cause: OSError) -> None:
        super().__init__(f"{what}: {cause.strerror}")
        self.what = what
        self.cause = cause


class DirectoryError(LaunchError):
    """The run directory, or a FIFO in it. path: which."""

    def __init__(self, path: Path, cause: OSError) -> None:
        super().__init__(f"cannot write {path}", cause)
        self.path = path


class SharedMemoryError(LaunchError):
    """A shared memory."""

    def __init__(self, size: int, cause: OSError) -> None:
        super().__init__(f"{size >> 10} KiB of shared memory cannot be had", cause)


class ProgramError(LaunchError):
    """The program cannot be executed."""

    def __init__(self, program: str, cause: OSError) -> None:
        super().__init__(f"{program} cannot be started", cause)


class QemuLaunch:
    """A QEMU that can be started, once; its descriptors are made with it.

    directory: of the run, absolute. argv: with tokens (snp_harness.launch.tokens) for what follows, and for files of
    the directory. consoles: IDs of character devices of the kind `pipe`. sockets: of the kind `socket`. pipes: names
    of what QEMU writes to. memory: name and bytes of shared memories. command: argv with the tokens replaced.

    The attributes of these names are the ends on this side. Whoever uses one takes it out and closes it; `close` closes
    those that are left. Raises DirectoryError, SharedMemoryError, OSError; ValueError for a token of nothing.
    """

    def __init__(
        self,
        directory: Path,
        argv: Sequence[str],
        *,
        consoles: Sequence[str] = (),
        sockets: Sequence[str] = (),
        pipes: Sequence[str] = (),
        memory: Mapping[str, int] | None = None,
    ) -> None:
        self.consoles: dict[str, ConsoleFifo] = {}
        self.sockets: dict[str, socket.socket] = {}
        self.pipes: dict[str, int] = {}
        self.memory: dict[str, int] = {}
        self._directory = directory
        self._values: dict[tuple[str, str], str] = {}
        self._inherited: list[int] = []
        # What QEMU inherits, and is closed here once it has it.
        self._theirs = contextlib.ExitStack()
        self._process: subprocess.Popen[bytes] | None = None
        self._pidfd = -1
        self._stop_watching: Callable[[], None] = _nothing
        try:
            if consoles:
                self._make_consoles(consoles)
            for name in sockets:
                self.sockets[name], other = socket.socketpair()
                self._theirs.callback(other.close)
                self._pass_on(tokens.NUMBER, name, other.fileno())
            for name in pipes:
                self.pipes[name], write_fd = os.pipe()
                self._theirs.callback(os.close, write_fd)
                enlarge(write_fd)
                self._pass_on(tokens.PATH, name, write_fd)
            for name, size in (memory or {}).items():
                try:
                    self.memory[name] = shared_memory(name, size)
                except OSError as error:
                    raise SharedMemoryError(size, error) from None
                self._pass_on(tokens.PATH, name, self.memory[name])
            self.command = tuple(tokens.substitute(argument, self._value) for argument in argv)
        except BaseException:
            self.close()
            raise

    @property
    def started(self) -> bool:
        """There is a process, which may have ended."""
        return self._process is not None

    @property
    def pid(self) -> int:
        """Of the process. Raises RuntimeError before the start."""
        return self._running.pid

    @property
    def status(self) -> int | None:
        """The exit status, negative for a signal; None while it runs. Raises RuntimeError before the start."""
        return self._running.poll()

    def start(self, stderr: BinaryIO | int, loop: Loop, ended: Callable[[int], None], cwd: Path | None = None) -> None:
        """Start it, in a thread that lives as long as it is wanted (snp_harness.launch.spawn). Raises ProgramError.

        stderr: where it writes its messages to. ended: called in the loop with its exit status. cwd: where it works.
        """
        with self._theirs:
            try:
                self._process = spawn(self.command, stderr=stderr, pass_fds=self._inherited, cwd=cwd)
            except OSError as error:
                raise ProgramError(self.command[0], error) from None
        self._pidfd = os.pidfd_open(self._process.pid)

        def readable() -> None:
            status = self.status
            if status is not None:
                loop.forget(self._pidfd)
                ended(status)

        loop.watch(self._pidfd, readable)
        self._stop_watching = lambda: loop.forget(self._pidfd)

    def kill(self, number: signal.Signals) -> None:
        """Send it a signal; nothing happens if it has ended. Raises RuntimeError before the start."""
        self._running.send_signal(number)

    def close(self) -> None:
        """Kill it if it runs, and close all that nobody took."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_KILL_S)
        self._theirs.close()
        self._stop_watching()
        self._stop_watching = _nothing
        fds = [*self.pipes.values(), *self.memory.values()]
        for fd in (*fds, self._pidfd) if self._pidfd >= 0 else fds:
            os.close(fd)
        self._pidfd = -1
        for fifo in self.consoles.values():
            fifo.close()
        for ours in self.sockets.values():
            ours.close()
        for ends in (self.consoles, self.sockets, self.pipes, self.memory):
            ends.clear()

    @property
    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("QEMU was not started")
        return self._process

    def _make_consoles(self, names: Sequence[str]) -> None:
        """QEMU finds the FIFOs by the directory's descriptor: a path may have characters that its options split at."""
        try:
            directory_fd = os.open(self._directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise DirectoryError(self._directory, error) from None
        self._theirs.callback(os.close, directory_fd)
        self._inherited.append(directory_fd)
        for name in names:
            try:
                self.consoles[name] = ConsoleFifo(self._directory, fifo_name(name))
            except OSError as error:
                raise DirectoryError(self._directory / fifo_name(name), error) from None
            self._values[tokens.PATH, name] = f"{tokens.descriptor_path(directory_fd)}/{fifo_name(name)}"

    def _pass_on(self, kind: str, name: str, fd: int) -> None:
        self._inherited.append(fd)
        self._values[kind, name] = str(fd) if kind == tokens.NUMBER else tokens.descriptor_path(fd)

    def _value(self, kind: str, name: str) -> str:
        """What stands for a token."""
        if kind == tokens.FILE and not name.startswith("."):
            return str(self._directory / name)
        if (kind, name) not in self._values:
            raise ValueError(f"nothing is named {name}")
        return self._values[kind, name]


def _nothing() -> None:
    """Nothing is watched."""
