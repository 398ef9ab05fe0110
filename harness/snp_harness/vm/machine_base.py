# SPDX-License-Identifier: GPL-2.0-or-later
"""A running QEMU on any machine: its consoles, its monitor, how it ends. Subclasses start it."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import socket
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

from msgspec import Struct

from snp_harness.errors import HarnessError
from snp_harness.launch import tokens
from snp_harness.launch.interrupts import INTERRUPTS
from snp_harness.launch.loop import HasFileno, Loop
from snp_harness.vm import rundir
from snp_harness.vm.console import BAD_PATTERNS, BoundedLog, Connection, Console
from snp_harness.vm.debug_exit import has_debug_exit, written
from snp_harness.vm.qemu_binary import QemuBinary, check_version
from snp_harness.vm.qemu_errors import (
    QemuDiedError,
    QemuError,
    QemuExitError,
    QemuLaunchError,
    QemuTimeoutError,
    QmpEndedError,
    telling_line,
)
from snp_harness.vm.rundir import RunDirectory

if TYPE_CHECKING:
    from snp_harness.launch.ring import RecordSource
    from snp_harness.vm.qmp import Qmp

#: Seconds until QEMU has to end, after QMP's quit or SIGTERM; and after SIGKILL, when only the kernel can delay it.
STOP_TIMEOUT_S = 30.0
_KILL_TIMEOUT_S = 60.0
QMP = "qmp"
#: The character device for QEMU's gdb stub, which only a guest that is held uses.
GDB = "gdb"
_STDERR_TAIL = 8192
#: Longest time between the end of QEMU's monitor and its exit status, seconds.
_DEATH_S = 30.0
_Machine = TypeVar("_Machine", bound="MachineBase")


class Ring(Struct, frozen=True):
    """A ring of records in a shared memory. doorbell: the channel on which the guest requests a read, if `arm`."""

    memory: str
    doorbell: str
    arm: bool


class Devices(Struct, frozen=True):
    """The objects that QEMU's arguments name and the machine makes.

    consoles: ID of each console's character device and the log file it goes to. channels: IDs of character devices that
    the caller reads. pipes: names of pipes that QEMU writes to. memory: name and bytes of shared memories. files: names
    of files of the run directory that QEMU reads. inputs: other files of this machine, for a QEMU elsewhere, by
    the names in their tokens. ring: a memory that holds a ring of records.
    stand_ins: what replaces a token in the command line to run by hand; a file's token is replaced by its name.
    """

    consoles: Mapping[str, str] = {}
    channels: Sequence[str] = ()
    pipes: Sequence[str] = ()
    memory: Mapping[str, int] = {}
    files: Sequence[str] = ()
    inputs: Mapping[str, Path] = {}
    ring: Ring | None = None
    stand_ins: Mapping[str, str] = {}


class MachineBase(ABC):
    """A QEMU process, as a context manager.

    binary: which QEMU. arguments: its arguments; they name the character devices `chardev:ID` of consoles and channels,
    and by tokens (snp_harness.launch.tokens) the other objects that `devices` lists.
    """

    #: Names of its files in the run directory.
    command_line_file = rundir.COMMAND_LINE
    stderr_file = rundir.STDERR

    def __init__(
        self,
        binary: QemuBinary,
        arguments: Sequence[str],
        directory: RunDirectory,
        devices: Devices,
        bad_patterns: Sequence[str] = BAD_PATTERNS,
    ) -> None:
        self.binary = binary
        self.directory = directory
        self.loop = Loop()
        self.consoles: dict[str, Console] = {}
        self.command: tuple[str, ...] = ()
        self._arguments = tuple(arguments)
        self.devices = devices
        self._bad_patterns = tuple(bad_patterns)
        self._channels: Mapping[str, socket.socket] = {}
        self._pipes: Mapping[str, HasFileno] = {}
        self._qmp: Qmp | None = None
        self._stopping = False

    def __enter__(self: _Machine) -> _Machine:
        INTERRUPTS.hold()
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
    @abstractmethod
    def pid(self) -> int:
        """Return QEMU's process id, on the machine where it runs."""

    @property
    @abstractmethod
    def exit_status(self) -> int | None:
        """Return QEMU's exit status once it has ended, negative for a signal; None while it runs."""

    @property
    def ended(self) -> bool:
        """Whether QEMU has ended, by itself or stopped."""
        return self.exit_status is not None

    @property
    def debug_exit(self) -> int | None:
        """Return the lower seven bits of what the guest wrote to isa-debug-exit, if that has ended QEMU; else None."""
        status = self.exit_status
        if status is None or self._stopping or not has_debug_exit(self._arguments) or telling_line(self.stderr_tail()):
            return None
        return written(status)

    def console(self, name: str) -> Console:
        """Return the console whose character device has this ID."""
        return self.consoles[name]

    def channel(self, name: str) -> socket.socket:
        """Return the harness's end of a character device of `channels`, not blocking."""
        return self._channels[name]

    def take_pipe(self, name: str) -> int:
        """Return the read end of a pipe that QEMU writes to. The caller closes it."""
        return os.dup(self._pipes[name].fileno())

    @abstractmethod
    def ring(self) -> RecordSource:
        """Return the reader of the devices' ring, once. The caller closes it. Raises RuntimeError before the start."""

    @property
    def qmp(self) -> Qmp:
        """Return the QMP session; the first call connects it.

        Raises QemuLaunchError if QEMU has ended, QemuTooOldError, QemuTimeoutError.
        """
        if self._qmp is None:
            from snp_harness.vm.qmp import Qmp

            try:
                self._qmp = Qmp(self._channels[QMP], self.loop)
            except QemuError:
                self.raise_if_ended(launching=True)
                raise
            check_version(self._qmp.version, str(self.binary.path))
        return self._qmp

    def processor_seconds(self) -> float | None:
        """Return the processor time that QEMU has used, None if that is not known here."""
        return None

    def registers(self, timeout_s: float) -> str | None:
        """Return the registers of all processors as QEMU's monitor prints them, None if it does not answer in time."""
        from snp_harness.vm.qmp import Qmp

        try:
            if self._qmp is None:
                self._qmp = Qmp(self._channels[QMP], self.loop, timeout_s)
            return str(self._qmp.execute("human-monitor-command", timeout_s, command_line="info registers -a"))
        except QemuError:
            return None

    def stderr_tail(self) -> str:
        """Return the end of what QEMU wrote to stderr."""
        with self.directory.file(self.stderr_file).open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _STDERR_TAIL))
            return file.read().decode(errors="replace")

    def raise_if_ended(self, *, launching: bool = False) -> None:
        """Raise QemuDiedError (QemuLaunchError when launching) if QEMU has ended without being stopped."""
        status = self.exit_status
        if status is None and launching:
            # Its sockets close a moment before its exit status is available.
            status = self._wait(STOP_TIMEOUT_S)
        if status is None or self._stopping:
            return
        if launching:
            self.binary.check()
            raise QemuLaunchError(self.command, status, self.stderr_tail())
        raise QemuDiedError(self.command, status, self.stderr_tail())

    def raise_if_failed(self, *, launching: bool = False) -> None:
        """Raise as `raise_if_ended`, unless the guest ended QEMU: by reset, power-off (status 0) or isa-debug-exit."""
        if self.exit_status and self.debug_exit is None:
            self.raise_if_ended(launching=launching)

    def explain(self, error: QemuError) -> HarnessError:
        """Return the cause of a failed request: that QEMU has died, if it has; else the error itself."""
        if isinstance(error, QemuExitError):
            return error
        try:
            if isinstance(error, QmpEndedError):
                # Its monitor closes a moment before its exit status is available.
                self._wait(_DEATH_S)
            self.raise_if_failed()
        except HarnessError as why:
            return why
        return error

    def stop(self) -> None:
        """End QEMU by QMP if a session answers, else by SIGTERM; finally by SIGKILL. Raises QemuTimeoutError."""
        if not self._started:
            return
        self._stopping = True
        if self.exit_status is None:
            if not self._quit():
                self._signal(signal.SIGTERM)
            if self._wait(STOP_TIMEOUT_S) is None:
                self._signal(signal.SIGKILL)
        if self._wait(_KILL_TIMEOUT_S) is None:
            raise QemuTimeoutError(
                f"QEMU (process {self.pid}) did not end {_KILL_TIMEOUT_S:g} s after SIGKILL",
                "the kernel holds it",
            )

    @abstractmethod
    def _start(self) -> None:
        """Start QEMU, and make its consoles, channels and pipes."""

    @property
    @abstractmethod
    def _started(self) -> bool:
        """Whether QEMU was started; it may have ended."""

    @abstractmethod
    def _signal(self, number: signal.Signals) -> None:
        """Send QEMU a signal; nothing happens if it has ended."""

    def _quit(self) -> bool:
        """Send QMP's quit; returns whether QEMU accepted it."""
        if self._qmp is None:
            return False
        with contextlib.suppress(QemuError):
            self._qmp.execute("quit", STOP_TIMEOUT_S)
            return True
        return False

    def _wait(self, timeout_s: float) -> int | None:
        """Serve all descriptors until QEMU ends; returns its exit status, None at the timeout."""
        self.loop.run_until(lambda: self.ended, timeout_s)
        return self.exit_status

    def _sockets(self) -> tuple[str, ...]:
        """Return the IDs of the character devices that are sockets: all but the consoles."""
        return (QMP, GDB, *self.devices.channels)

    def _command(self) -> list[str]:
        """Return argv with tokens; records it in the run directory in a form to run by hand."""
        chardevs: list[str] = []
        by_hand: list[str] = []
        for name in self._sockets():
            chardevs += ["-chardev", f"socket,id={name},fd={tokens.token(tokens.NUMBER, name)}"]
            if name != GDB:
                by_hand += ["-chardev", "stdio,id=qmp" if name == QMP else f"file,id={name},path={os.devnull}"]
        for name, log in self.devices.consoles.items():
            chardevs += ["-chardev", f"pipe,id={name},path={tokens.token(tokens.PATH, name)}"]
            by_hand += ["-chardev", f"file,id={name},path={log}"]
        monitor = ["-qmp", f"chardev:{QMP}"]
        self._by_hand = [*self.binary.prefix, *by_hand, *monitor, *map(self._stand_in, self._arguments)]
        return [*self.binary.prefix, *chardevs, *monitor, *self._arguments]

    def _record(self) -> None:
        """Write the command line as it was run, and one to run by hand in the run directory."""
        self.directory.write_text(
            self.command_line_file,
            f"# Run by hand in this directory (QMP on the terminal):\n{shlex.join(self._by_hand)}\n\n"
            f"# As it was run, with descriptors of the harness:\n# {shlex.join(self.command)}\n",
        )

    def _adopt(
        self,
        consoles: Mapping[str, Connection],
        channels: Mapping[str, socket.socket],
        pipes: Mapping[str, HasFileno],
    ) -> None:
        """Use the harness's ends of the objects that QEMU's arguments name, by name; their maker closes them."""
        self._channels, self._pipes = channels, pipes
        for name, ours in channels.items():
            ours.setblocking(name == QMP)
        for name, connection in consoles.items():
            log = BoundedLog(self.directory.file(self.devices.consoles[name]))
            self.consoles[name] = Console(name, connection, self.loop, log, self._bad_patterns)

    def _stand_in(self, argument: str) -> str:
        for found, replacement in self.devices.stand_ins.items():
            argument = argument.replace(found, replacement)
        return tokens.substitute(argument, lambda _, name: name)

    def _close(self) -> None:
        """Close every descriptor; QEMU has ended, or was never started."""
        if self._qmp is not None:
            self._qmp.close()
            self._qmp = None
        for console in self.consoles.values():
            console.close()
        self.loop.close()
