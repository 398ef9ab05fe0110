# SPDX-License-Identifier: GPL-2.0-or-later
"""The nested KVM host as a host: its byte stream is a virtio-serial port of a machine that QEMU TCG runs here."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

from snp_harness.agent.mux import CLOSED, DescriptorPort
from snp_harness.debian.cache import Progress
from snp_harness.errors import HarnessError
from snp_harness.hosts.host_errors import HostLostError, HostTimeoutError
from snp_harness.hosts.remote import Connection, RemoteHost
from snp_harness.launch.loop import Loop
from snp_harness.tools.kvm_host.outer import BAD_PATTERNS, CONSOLE, PORT, READY, Outer
from snp_harness.tools.kvm_host.snapshot import BOOT_S, Snapshot, snapshot_of
from snp_harness.vm import rundir
from snp_harness.vm.machine import Machine
from snp_harness.vm.machine_base import Devices
from snp_harness.vm.qemu_errors import ConsoleError, QemuError, describe_status
from snp_harness.vm.rundir import RunDirectory

_QEMU = Path("/usr/bin/qemu-system-x86_64")
#: Timeouts of the thread's end, and of reading the last output of a machine that has ended, seconds.
_END_S = 60.0
_LAST_WORDS_S = 30.0


class NestedHost(RemoteHost):
    """The nested KVM host. directory: receives the files of the outer machine, such as its console's log.

    cold: boot it even if there is a snapshot. progress: called with a line about each step that takes long.
    """

    def __init__(self, outer: Outer, directory: RunDirectory, progress: Progress, *, cold: bool = False) -> None:
        super().__init__("nested", _QEMU)
        self._outer = outer
        self._directory = directory
        self._progress = progress
        self._cold = cold

    def connect(self) -> OuterConnection:
        """Start the outer machine, from its snapshot if there is one. Raises HarnessError."""
        if not self._cold:
            try:
                snapshot = snapshot_of(self._outer, self._progress)
            except HarnessError as error:
                self._progress(f"warning: no snapshot of the nested host: {error}")
            else:
                try:
                    return OuterConnection(self._outer, self._directory, snapshot)
                except (QemuError, OSError) as error:
                    snapshot.discard()
                    self._progress(f"warning: the snapshot of the nested host cannot be used: {error}")
        return OuterConnection(self._outer, self._directory, None)

    def facts(self) -> dict[str, object]:
        """For environment.json: the host, and the outer machine."""
        outer = {"qemu": str(self._outer.binary), "image": self._outer.image.directory.name}
        return {**super().facts(), "outer": outer}


class _OuterMachine(Machine):
    """The outer machine. Its files are in the run directory, beside those of the inner one."""

    command_line_file = rundir.OUTER_COMMAND_LINE
    stderr_file = rundir.OUTER_STDERR

    def __init__(self, outer: Outer, directory: RunDirectory, snapshot: Snapshot | None) -> None:
        devices = Devices(consoles={CONSOLE: rundir.OUTER_CONSOLE}, channels=[PORT])
        incoming = [] if snapshot is None else ["-incoming", "defer"]
        arguments = [*outer.arguments(snapshot.memory if snapshot is not None else None), *incoming]
        super().__init__(outer.binary, arguments, directory, devices, BAD_PATTERNS)
        self._cold = outer.arguments()

    def _command(self) -> list[str]:
        """Return the command; the recorded command for manual use boots, since a snapshot needs QMP to be loaded."""
        command = super()._command()
        self._by_hand = [*self._by_hand[: -len(self._arguments)], *self._cold]
        return command


class OuterConnection(Connection):
    """A running outer machine, served by its own thread, and the byte stream to the program in it.

    The constructor returns when the program is ready. Raises HarnessError, OSError if it does not start.
    """

    def __init__(self, outer: Outer, directory: RunDirectory, snapshot: Snapshot | None) -> None:
        self._outer = outer
        self._directory = directory
        self._snapshot = snapshot
        self._socket: socket.socket | None = None
        self._error: Exception | None = None
        self._end = ""
        self._there = threading.Event()
        self._over = threading.Event()
        self._closing = False
        self._loop: Loop | None = None
        # This thread starts QEMU: the kernel kills QEMU when the thread ends.
        self._thread = threading.Thread(target=self._serve, name="nested-host", daemon=True)
        self._thread.start()
        there = self._wait_for_it()
        self.port = DescriptorPort(there.fileno(), there.fileno())

    def explain(self, why: str) -> HarnessError:
        """The error of a connection that was lost."""
        if why.startswith(CLOSED):
            self._over.wait(_LAST_WORDS_S)
        return HostLostError(f"the nested host is lost: {self._end or why}", f"see {rundir.OUTER_CONSOLE}")

    def close(self) -> None:
        """End the outer machine. Never raises."""
        self._closing = True
        if self._loop is not None:
            self._loop.wake()
        self._thread.join(_END_S)
        if self._socket is not None:
            self._socket.close()

    def _wait_for_it(self) -> socket.socket:
        try:
            in_time = self._there.wait(BOOT_S + _END_S)
        except BaseException:
            self.close()
            raise
        if self._socket is not None:
            return self._socket
        self.close()
        if in_time and self._error is not None:
            raise self._error
        raise HostTimeoutError(f"the nested host was not ready in {BOOT_S:g} s", f"see {rundir.OUTER_CONSOLE}")

    def _serve(self) -> None:
        try:
            self._run()
        except (HarnessError, OSError) as error:
            self._error = error
            self._end = self._end or str(error)
        finally:
            self._over.set()
            self._there.set()

    def _run(self) -> None:
        with _OuterMachine(self._outer, self._directory, self._snapshot) as machine:
            if self._snapshot is None:
                _boot(machine)
            else:
                self._snapshot.load(machine)
            # The link closes the copy.
            self._socket = machine.channel(PORT).dup()
            self._there.set()
            self._loop = machine.loop
            console = machine.console(CONSOLE)
            while not self._closing and not machine.ended and console.crash is None:
                machine.loop.turn(_END_S)
            if not self._closing:
                machine.loop.run_until(lambda: machine.ended and console.closed, _LAST_WORDS_S)
                self._end = _describe(machine)


def _boot(machine: Machine) -> None:
    """Wait until the program is ready. Raises HostLostError."""
    try:
        machine.console(CONSOLE).expect(READY, BOOT_S)
    except ConsoleError:
        machine.loop.run_until(lambda: machine.ended, _LAST_WORDS_S)
        why = _describe(machine)
        raise HostLostError(f"the nested host did not start: {why}", f"see {rundir.OUTER_CONSOLE}") from None


def _describe(machine: Machine) -> str:
    """Describe the unexpected end of a machine."""
    console = machine.console(CONSOLE)
    if console.crash is not None:
        return f"its console reports: {console.crash}"
    status = machine.exit_status
    how = "its QEMU hangs" if status is None else f"its QEMU ended with {describe_status(status)}"
    return f"{how}, the last line of its console: {console.last_line or 'nothing'}"
