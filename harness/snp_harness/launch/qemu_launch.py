# SPDX-License-Identifier: GPL-2.0-or-later
"""One QEMU: its descriptors, its process, and the end of both.

The harness uses it on this machine, and the agent on others.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence
from io import FileIO
from pathlib import Path
from typing import BinaryIO

from snp_harness.launch import tokens
from snp_harness.launch.fifo import ConsoleFifo, enlarge, fifo_name
from snp_harness.launch.loop import Loop
from snp_harness.launch.shared_memory import shared_memory
from snp_harness.launch.spawn import spawn

#: Timeout of the end of a killed process, seconds.
_KILL_S = 30.0


class LaunchError(Exception):
    """QEMU could not be started. what: the failed step. cause: the kernel's error. path: the file, None for others."""

    def __init__(self, what: str, cause: OSError, path: Path | None = None) -> None:
        super().__init__(f"{what}: {cause.strerror}")
        self.what = what
        self.cause = cause
        self.path = path


class ProgramError(LaunchError):
    """The program cannot be executed."""


class QemuLaunch:
    """A QEMU that can be started once. The constructor makes its descriptors.

    directory: of the run, absolute. argv: with tokens (snp_harness.launch.tokens) for the following, and for files of
    the directory. consoles: IDs of character devices of the kind `pipe`. sockets: of the kind `socket`. pipes: names
    of pipes that QEMU writes to. memory: name and bytes of shared memories.

    The attributes of these names are the ends on this side, which `close` closes; the caller may close them earlier.
    command: argv with the tokens replaced. Raises LaunchError, OSError; ValueError for a token with an unknown name.
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
        self.pipes: dict[str, FileIO] = {}
        self.memory: dict[str, int] = {}
        self._directory = directory
        self._values: dict[tuple[str, str], str] = {}
        self._inherited: list[int] = []
        self._process: subprocess.Popen[bytes] | None = None
        # Closed at the end, and inherited by QEMU: those are closed here after its start.
        self._ours, self._theirs = contextlib.ExitStack(), contextlib.ExitStack()
        with contextlib.ExitStack() as unless_made:
            unless_made.callback(self.close)
            if consoles:
                self._make_consoles(consoles)
            for name in sockets:
                self.sockets[name], other = socket.socketpair()
                self._ours.callback(self.sockets[name].close)
                self._theirs.callback(other.close)
                self._pass_on(tokens.NUMBER, name, other.fileno())
            for name in pipes:
                read_fd, write_fd = os.pipe()
                self.pipes[name] = self._ours.enter_context(FileIO(read_fd))
                self._theirs.callback(os.close, write_fd)
                enlarge(write_fd)
                self._pass_on(tokens.PATH, name, write_fd)
            for name, size in (memory or {}).items():
                try:
                    self.memory[name] = shared_memory(name, size)
                except OSError as error:
                    raise LaunchError(f"{size >> 10} KiB of shared memory cannot be allocated", error) from None
                self._ours.callback(os.close, self.memory[name])
                self._pass_on(tokens.PATH, name, self.memory[name])
            self.command = tuple(tokens.substitute(argument, self._value) for argument in argv)
            unless_made.pop_all()

    @property
    def started(self) -> bool:
        """Whether the process was started; it may have ended."""
        return self._process is not None

    @property
    def pid(self) -> int:
        """The process id. Raises RuntimeError before the start."""
        return self._running.pid

    @property
    def status(self) -> int | None:
        """The exit status, negative for a signal; None while it runs. Raises RuntimeError before the start."""
        return self._running.poll()

    def start(self, stderr: BinaryIO | int, loop: Loop, ended: Callable[[int], None], cwd: Path | None = None) -> None:
        """Start it. The calling thread must live as long as QEMU is needed (snp_harness.launch.spawn).

        stderr: file for its messages. ended: called in the loop with its exit status. cwd: its working directory.
        Raises ProgramError.
        """
        with self._theirs:
            try:
                self._process = spawn(self.command, stderr=stderr, pass_fds=self._inherited, cwd=cwd)
            except OSError as error:
                raise ProgramError(f"{self.command[0]} cannot be started", error) from None
        pidfd = os.pidfd_open(self._process.pid)
        self._ours.callback(os.close, pidfd)
        self._ours.callback(loop.forget, pidfd)

        def readable() -> None:
            status = self.status
            if status is not None:
                loop.forget(pidfd)
                ended(status)

        loop.watch(pidfd, readable)

    def kill(self, number: signal.Signals) -> None:
        """Send it a signal; ignored if it has ended. Raises RuntimeError before the start."""
        self._running.send_signal(number)

    def close(self) -> None:
        """Kill it if it runs, and close everything."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_KILL_S)
        self._theirs.close()
        self._ours.close()

    @property
    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("QEMU was not started")
        return self._process

    def _make_consoles(self, names: Sequence[str]) -> None:
        """Make the FIFOs. QEMU opens them by the directory's descriptor: a path may contain QEMU's separators."""
        try:
            directory_fd = os.open(self._directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise LaunchError(f"cannot open {self._directory}", error, self._directory) from None
        self._theirs.callback(os.close, directory_fd)
        self._inherited.append(directory_fd)
        for name in names:
            file = fifo_name(name)
            try:
                self.consoles[name] = ConsoleFifo(self._directory, file)
            except OSError as error:
                what = f"the FIFOs of the console {file} cannot be made"
                raise LaunchError(what, error, self._directory / file) from None
            self._ours.callback(self.consoles[name].close)
            self._values[tokens.PATH, name] = f"{tokens.descriptor_path(directory_fd)}/{file}"

    def _pass_on(self, kind: str, name: str, fd: int) -> None:
        self._inherited.append(fd)
        self._values[kind, name] = str(fd) if kind == tokens.NUMBER else tokens.descriptor_path(fd)

    def _value(self, kind: str, name: str) -> str:
        """Return the value of a token. Raises ValueError for an unknown name."""
        if kind == tokens.FILE and not name.startswith("."):
            return str(self._directory / name)
        if (kind, name) not in self._values:
            raise ValueError(f"nothing is named {name}")
        return self._values[kind, name]
