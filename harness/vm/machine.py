# SPDX-License-Identifier: GPL-2.0-or-later
"""A running QEMU: started from an argument list, watched while it runs, always stopped and reaped."""

from __future__ import annotations

import contextlib
import os
import shlex
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO

from harness.errors import BrokenEnvironmentError
from harness.vm import rundir
from harness.vm.console import BAD_PATTERNS, BoundedLog, Console
from harness.vm.errors import QemuDiedError, QemuError, QemuLaunchError, QemuMissingError, QemuTimeoutError
from harness.vm.loop import EventLoop
from harness.vm.qemu import QemuBinary, check_version
from harness.vm.rundir import RunDirectory
from harness.vm.spawn import spawn

if TYPE_CHECKING:
    from harness.vm.qmp import Qmp

#: Seconds that QEMU may take to end, after QMP's quit or SIGTERM, and again after SIGKILL.
STOP_TIMEOUT_S = 5.0
_STDERR_TAIL = 8192
_QMP = "qmp"


class Machine:
    """A QEMU process, as a context manager.

    binary: which QEMU. arguments: its arguments; they name the character devices `chardev:ID` of `consoles` and
    `channels`, which the machine makes. consoles: ID of each console and the log file it goes to. channels: IDs of
    character devices that the caller reads, by `channel`. pass_fds: descriptors that arguments name
    (/proc/self/fd/N). stand_ins: what stands in the recorded command line for such an argument, so that it can be run
    by hand.
    Enter it in a thread that lives as long as the machine (harness.vm.spawn).
    """

    def __init__(
        self,
        binary: QemuBinary,
        arguments: Sequence[str],
        directory: RunDirectory,
        *,
        consoles: Mapping[str, str],
        channels: Sequence[str] = (),
        pass_fds: Sequence[int] = (),
        stand_ins: Mapping[str, str] | None = None,
        bad_patterns: Sequence[str] = BAD_PATTERNS,
    ) -> None:
        self.binary = binary
        self.directory = directory
        self.loop = EventLoop()
        self.consoles: dict[str, Console] = {}
        self.command: tuple[str, ...] = ()
        self._arguments = tuple(arguments)
        self._console_files = dict(consoles)
        self._channel_names = tuple(channels)
        self._pass_fds = tuple(pass_fds)
        self._stand_ins = dict(stand_ins or {})
        self._bad_patterns = tuple(bad_patterns)
        self._channels: dict[str, socket.socket] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._pidfd = -1
        self._qmp: Qmp | None = None
        self._stopping = False

    def __enter__(self) -> Machine:
        with contextlib.ExitStack() as stack:
            stack.callback(self._close)
            self._start()
            stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.stop()
        finally:
            self._close()

    @property
    def pid(self) -> int:
        """QEMU's process id."""
        return self._running.pid

    @property
    def exit_status(self) -> int | None:
        """QEMU's exit status once it has ended, negative for a signal; None while it runs."""
        return self._running.poll()

    @property
    def ended(self) -> bool:
        """QEMU has ended, by itself or stopped."""
        return self.exit_status is not None

    def console(self, name: str) -> Console:
        """The console whose character device has this ID."""
        return self.consoles[name]

    def channel(self, name: str) -> socket.socket:
        """The harness's end of a character device of `channels`, not blocking."""
        return self._channels[name]

    @property
    def qmp(self) -> Qmp:
        """The QMP session, made when first asked for.

        Raises QemuLaunchError if QEMU has ended, QemuTooOldError, QemuTimeoutError.
        """
        if self._qmp is None:
            from harness.vm.qmp import Qmp

            try:
                self._qmp = Qmp(self._channels[_QMP], self.loop)
            except QemuError:
                self.raise_if_ended(launching=True)
                raise
            check_version(self._qmp.version, str(self.binary.path))
        return self._qmp

    def stderr_tail(self) -> str:
        """The end of what QEMU wrote to stderr."""
        with self.directory.file(rundir.STDERR).open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _STDERR_TAIL))
            return file.read().decode(errors="replace")

    def raise_if_ended(self, *, launching: bool = False) -> None:
        """Raises QemuDiedError (QemuLaunchError when launching) if QEMU has ended without being stopped."""
        status = self.exit_status
        if status is None and launching:
            # Its sockets close a moment before it can be waited for.
            status = self._wait(STOP_TIMEOUT_S)
        if status is None or self._stopping:
            return
        if launching:
            self.binary.check()
            raise QemuLaunchError(self.command, status, self.stderr_tail())
        raise QemuDiedError(self.command, status, self.stderr_tail())

    def raise_if_failed(self, *, launching: bool = False) -> None:
        """As `raise_if_ended`, unless the guest's reset or power-off ended it (status 0)."""
        if self.exit_status:
            self.raise_if_ended(launching=launching)

    def stop(self) -> None:
        """End QEMU: by QMP if a session answers, else SIGTERM; at last SIGKILL. Raises QemuTimeoutError."""
        if self._process is None:
            return
        self._stopping = True
        if self.exit_status is None:
            if not self._quit():
                self._process.terminate()
            if self._wait(STOP_TIMEOUT_S) is None:
                self._process.kill()
        if self._wait(STOP_TIMEOUT_S) is None:
            raise QemuTimeoutError(
                f"QEMU (process {self._process.pid}) did not end {STOP_TIMEOUT_S:g} s after SIGKILL",
                "the kernel holds it",
            )

    def _quit(self) -> bool:
        """QEMU has taken QMP's quit."""
        if self._qmp is None:
            return False
        with contextlib.suppress(QemuError):
            self._qmp.execute("quit", STOP_TIMEOUT_S)
            return True
        return False

    @property
    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("the machine was not started")
        return self._process

    def _wait(self, timeout_s: float) -> int | None:
        """Serve all descriptors until QEMU ends; None if it does not in time."""
        self.loop.run_until(lambda: self.ended, timeout_s)
        return self.exit_status

    def _start(self) -> None:
        with contextlib.ExitStack() as theirs:
            inherited = list(self._pass_fds)
            chardevs: list[str] = []
            by_hand: list[str] = []
            for name in (_QMP, *self._console_files, *self._channel_names):
                ours, other = socket.socketpair()
                theirs.callback(other.close)
                inherited.append(other.fileno())
                chardevs += ["-chardev", f"socket,id={name},fd={other.fileno()}"]
                log = self._console_files.get(name, os.devnull)
                by_hand += ["-chardev", "stdio,id=qmp" if name == _QMP else f"file,id={name},path={log}"]
                self._adopt(name, ours)
            monitor = ["-qmp", f"chardev:{_QMP}"]
            self.command = (*self.binary.prefix, *chardevs, *monitor, *self._arguments)
            self._record([*self.binary.prefix, *by_hand, *monitor, *map(self._stand_in, self._arguments)])
            with self.directory.open_binary(rundir.STDERR) as stderr:
                self._process = self._spawn(stderr, inherited)
        self._pidfd = os.pidfd_open(self._process.pid)
        self.loop.add(self._pidfd, self._exited)

    def _spawn(self, stderr: BinaryIO, inherited: Sequence[int]) -> subprocess.Popen[bytes]:
        try:
            return spawn(self.command, stderr=stderr, pass_fds=inherited)
        except OSError as error:
            why = error.strerror
            raise QemuMissingError(
                f"QEMU {self.binary.path} cannot be started: {why}", "name another with --qemu"
            ) from None

    def _adopt(self, name: str, ours: socket.socket) -> None:
        self._channels[name] = ours
        if name in self._console_files:
            log = BoundedLog(self.directory.file(self._console_files[name]))
            self.consoles[name] = Console(name, ours, self.loop, log, self._bad_patterns)
        elif name != _QMP:
            ours.setblocking(False)

    def _record(self, by_hand: Sequence[str]) -> None:
        """Write the command line: as it was, and one that can be run by hand in the run directory."""
        self.directory.write_text(
            rundir.COMMAND_LINE,
            f"# Run by hand in this directory (QMP on the terminal):\n{shlex.join(by_hand)}\n\n"
            f"# As it was run, with descriptors of the harness:\n# {shlex.join(self.command)}\n",
        )

    def _stand_in(self, argument: str) -> str:
        # The longest first: /proc/self/fd/12 starts with /proc/self/fd/1.
        for found, replacement in sorted(self._stand_ins.items(), key=lambda item: -len(item[0])):
            argument = argument.replace(found, replacement)
        return argument

    def _exited(self) -> None:
        self._running.poll()
        self.loop.remove(self._pidfd)

    def _close(self) -> None:
        """Give back every descriptor; QEMU has ended, or was never started."""
        if self._qmp is not None:
            self._qmp.close()
            self._qmp = None
        for console in self.consoles.values():
            console.close()
        for channel in self._channels.values():
            channel.close()
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1
        self.loop.close()


def memory_file(name: str, size: int) -> int:
    """A descriptor of `size` bytes of shared memory, which QEMU maps as /proc/self/fd/N. The caller closes it.

    Raises BrokenEnvironmentError.
    """
    fd = os.memfd_create(name, os.MFD_CLOEXEC)
    try:
        os.ftruncate(fd, size)
    except OSError as error:
        os.close(fd)
        raise BrokenEnvironmentError(
            f"{size >> 10} KiB of shared memory cannot be had: {error.strerror}", "see ulimit -f and ulimit -v"
        ) from None
    return fd


def descriptor_path(fd: int) -> str:
    """The path by which a process that inherits `fd` can open it."""
    return str(Path("/proc/self/fd") / str(fd))
