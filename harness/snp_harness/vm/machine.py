# SPDX-License-Identifier: GPL-2.0-or-later
"""A QEMU that runs here: started from an argument list, watched while it runs, always stopped and reaped."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Sequence
from typing import BinaryIO

from snp_harness.errors import BrokenEnvironmentError
from snp_harness.launch import tokens
from snp_harness.launch.fifo import ConsoleFifo, enlarge, fifo_name
from snp_harness.launch.shared_memory import shared_memory
from snp_harness.launch.spawn import spawn
from snp_harness.vm.machine_base import Devices, MachineBase, Ring
from snp_harness.vm.qemu_errors import CannotWriteError, QemuMissingError

__all__ = ["Devices", "Machine", "Ring"]


class Machine(MachineBase):
    """A QEMU process of this machine.

    Enter it in a thread that lives as long as the machine (snp_harness.launch.spawn).
    """

    _process: subprocess.Popen[bytes] | None = None
    _pidfd = -1

    @property
    def pid(self) -> int:
        """QEMU's process id."""
        return self._running.pid

    @property
    def exit_status(self) -> int | None:
        """See MachineBase."""
        return self._running.poll()

    def memory(self, name: str) -> int:
        """The descriptor of a shared memory; it is closed with the machine."""
        return self._memory[name]

    @property
    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("the machine was not started")
        return self._process

    @property
    def _started(self) -> bool:
        return self._process is not None

    def _signal(self, number: signal.Signals) -> None:
        self._running.send_signal(number)

    def _start(self) -> None:
        with contextlib.ExitStack() as theirs:
            values: dict[tuple[str, str], str] = {}
            inherited: list[int] = []
            directory_fd = self._open_directory()
            theirs.callback(os.close, directory_fd)
            inherited.append(directory_fd)
            for name in self.devices.consoles:
                self._adopt_console(name, self._fifo(name))
                values[tokens.PATH, name] = f"{tokens.descriptor_path(directory_fd)}/{fifo_name(name)}"
            for name in self._sockets():
                ours, other = socket.socketpair()
                theirs.callback(other.close)
                inherited.append(other.fileno())
                values[tokens.NUMBER, name] = str(other.fileno())
                self._adopt(name, ours)
            for name in self.devices.pipes:
                self._pipes[name], write_fd = os.pipe()
                theirs.callback(os.close, write_fd)
                enlarge(write_fd)
                inherited.append(write_fd)
                values[tokens.PATH, name] = tokens.descriptor_path(write_fd)
            for name, size in self.devices.memory.items():
                self._memory[name] = _memory_file(name, size)
                inherited.append(self._memory[name])
                values[tokens.PATH, name] = tokens.descriptor_path(self._memory[name])
            for name in self.devices.files:
                values[tokens.FILE, name] = str(self.directory.file(name))
            self.command = tuple(
                tokens.substitute(argument, lambda kind, name: values[kind, name]) for argument in self._command()
            )
            self._record()
            with self.directory.open_binary(self.stderr_file) as stderr:
                self._process = self._spawn(stderr, inherited)
        self._pidfd = os.pidfd_open(self._process.pid)
        self.loop.watch(self._pidfd, self._exited)

    def _open_directory(self) -> int:
        """QEMU finds its consoles' FIFOs by it: a path may have characters that QEMU's options take for their own."""
        try:
            return os.open(self.directory.path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise CannotWriteError(self.directory.path, error) from None

    def _fifo(self, name: str) -> ConsoleFifo:
        try:
            return ConsoleFifo(self.directory.path, fifo_name(name))
        except OSError as error:
            raise CannotWriteError(self.directory.file(fifo_name(name)), error) from None

    def _spawn(self, stderr: BinaryIO, inherited: Sequence[int]) -> subprocess.Popen[bytes]:
        try:
            return spawn(self.command, stderr=stderr, pass_fds=inherited)
        except OSError as error:
            why = error.strerror
            raise QemuMissingError(
                f"QEMU {self.binary.path} cannot be started: {why}", "name another with --qemu"
            ) from None

    def _exited(self) -> None:
        self._running.poll()
        self.loop.forget(self._pidfd)

    def _close(self) -> None:
        super()._close()
        for fd in self._memory.values():
            os.close(fd)
        self._memory.clear()
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1


def _memory_file(name: str, size: int) -> int:
    """A descriptor of `size` bytes of shared memory. The caller closes it. Raises BrokenEnvironmentError."""
    try:
        return shared_memory(name, size)
    except OSError as error:
        raise BrokenEnvironmentError(
            f"{size >> 10} KiB of shared memory cannot be had: {error.strerror}", "see ulimit -f and ulimit -v"
        ) from None
