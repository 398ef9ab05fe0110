# SPDX-License-Identifier: GPL-2.0-or-later
"""A QEMU on another host, started by its agent; its output is received as that of a local one."""

from __future__ import annotations

import collections
import signal
import socket
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from snp_harness.errors import HarnessError
from snp_harness.hosts.answers import Started
from snp_harness.hosts.link import PATIENCE_S, PING_S, Link
from snp_harness.hosts.ship import ship
from snp_harness.hosts.streamed_ring import StreamedRing
from snp_harness.vm.console import BAD_PATTERNS, BoundedLog
from snp_harness.vm.machine_base import STOP_TIMEOUT_S, Devices, MachineBase
from snp_harness.vm.qemu_binary import QemuBinary
from snp_harness.vm.qemu_errors import QemuError, QemuTimeoutError
from snp_harness.vm.rundir import RunDirectory

_STDERR_LIMIT = 16 << 20
#: Timeout of the last output of a QEMU that has ended, seconds.
DRAIN_S = 30.0
_RECEIVE = 1 << 16


class RemoteMachine(MachineBase):
    """A QEMU process on an agent's host."""

    def __init__(
        self,
        link: Link,
        binary: QemuBinary,
        arguments: Sequence[str],
        directory: RunDirectory,
        devices: Devices,
        bad_patterns: Sequence[str] = BAD_PATTERNS,
    ) -> None:
        super().__init__(binary, arguments, directory, devices, bad_patterns)
        self.link = link
        #: The run's name, for operations of the agent that concern it.
        self.run = ""
        self._events: collections.deque[dict[str, Any]] = collections.deque()
        #: Local ends of this run's streams, and the numbers of those that have not ended.
        self._streams: dict[int, socket.socket] = {}
        self._open: set[int] = set()
        self._pid: int | None = None
        self._status: int | None = None
        self._told = False
        self._ring: StreamedRing | None = None
        self._stderr: socket.socket | None = None
        self._stderr_log: BoundedLog | None = None

    @property
    def pid(self) -> int:
        """QEMU's process id on the host. Raises RuntimeError before the start."""
        if self._pid is None:
            raise RuntimeError("the machine was not started")
        return self._pid

    @property
    def exit_status(self) -> int | None:
        """QEMU's exit status, negative for a signal; None while it runs. Raises RuntimeError before the start."""
        assert self.pid
        self._take_events()
        return self._status

    @property
    def debug_exit(self) -> int | None:
        """As in MachineBase; QEMU's last messages are received first."""
        if self.ended:
            self._drain()
        return super().debug_exit

    def ring(self) -> StreamedRing:
        """The reader of the devices' ring. It is closed with the machine."""
        assert self._ring is not None
        return self._ring

    def stop(self) -> None:
        """Stop QEMU and read the rest of its output. If the connection is lost, the agent stops QEMU.

        Raises QemuTimeoutError if QEMU does not end.
        """
        # From here on a lost connection is not an error: all needed data was received.
        self._told = True
        if self._started and self.link.error is None:
            try:
                super().stop()
            except QemuTimeoutError:
                # A connection without data is treated as lost after a while; the data received before is kept.
                if not self.loop.run_until(lambda: self.ended or self.link.error is not None, PATIENCE_S + PING_S):
                    raise
            self._drain()

    def explain(self, error: QemuError) -> HarnessError:
        """The link's error if the connection is lost, else as MachineBase."""
        return self.link.error or super().explain(error)

    def raise_if_ended(self, *, launching: bool = False) -> None:
        """Raise the link's error if the connection is lost.

        Raises QemuDiedError (QemuLaunchError when launching) if QEMU has ended without being stopped.
        """
        if self.link.error is not None:
            raise self.link.error
        if launching and self._wait(STOP_TIMEOUT_S) is not None:
            self._drain()
        super().raise_if_ended(launching=launching)

    @property
    def _started(self) -> bool:
        return self._pid is not None

    def _signal(self, number: signal.Signals) -> None:
        self.link.ask("kill", run=self.run, signal=int(number))

    def _wait(self, timeout_s: float) -> int | None:
        self.loop.run_until(lambda: self.ended or self.link.error is not None, timeout_s)
        return self._status

    def _start(self) -> None:
        self.run = self.link.new_run(self._event)
        opened = self.link.ask("open", run=self.run)
        own = {name: self.directory.file(name) for name in self.devices.files}
        ship(self.link, self.run, {**own, **self.devices.inputs}, opened)
        ring = self.devices.ring
        bell = [] if ring is None else [ring.doorbell]
        consoles = {name: self.stream() for name in self.devices.consoles}
        channels = {name: self.stream() for name in self._sockets() if name not in bell}
        pipes = {name: self.stream(reads=False) for name in self.devices.pipes}
        self._adopt(_ends(consoles), _ends(channels), _ends(pipes))
        stderr, self._stderr = self.stream(reads=False)
        self._stderr_log = BoundedLog(self.directory.file(self.stderr_file), _STDERR_LIMIT)
        self.loop.watch(self._stderr, self._take_stderr)
        sent_ring: dict[str, object] | None = None
        if ring is not None:
            number, ours = self.stream(reads=False)
            self._ring = StreamedRing(ours, self.loop)
            sent_ring = {"memory": ring.memory, "doorbell": ring.doorbell, "stream": number, "arm": ring.arm}
        started = self.link.take(
            "start",
            Started,
            run=self.run,
            argv=self._command(),
            consoles=_numbers(consoles),
            chardevs=_numbers(channels) | dict.fromkeys(bell),
            pipes=_numbers(pipes),
            memory=dict(self.devices.memory),
            stderr=stderr,
            ring=sent_ring,
        )
        self._pid = started.pid
        self.command = tuple(started.argv)
        self._record()

    def stream(self, *, reads: bool = True) -> tuple[int, socket.socket]:
        """Open a stream for an operation on this run; return its number and its local end.

        reads: data written to the local end is sent to the agent. The stream is closed with the machine.
        """
        number, ours = self.link.stream(self._finished, reads=reads)
        self._streams[number] = ours
        self._open.add(number)
        return number, ours

    def wait(self, future: Future[Any], timeout_s: float) -> bool:
        """Serve all descriptors until the future is done; False if that takes more than `timeout_s` seconds."""
        future.add_done_callback(lambda _: self.loop.wake())
        return self.loop.run_until(future.done, timeout_s)

    def drop_stream(self, number: int) -> None:
        """Close a stream whose operation failed: it carries no data."""
        stream = self._streams.pop(number)
        self.loop.forget(stream)
        stream.close()
        self._open.discard(number)
        self.link.drop([number])

    def _finished(self, number: int) -> None:
        """Queue the end of a stream. Called in the link's thread."""
        self._event({"event": "finished", "stream": number})

    def _event(self, event: dict[str, Any]) -> None:
        """Queue an event. Called in the link's thread."""
        self._events.append(event)
        self.loop.soon(self._woken)

    def _woken(self) -> None:
        self._take_events()
        if self.link.error is not None and not self._told:
            # Raised once: the code that runs after it cleans up.
            self._told = True
            raise self.link.error

    def _take_events(self) -> None:
        while self._events:
            event = self._events.popleft()
            if event["event"] == "exit" and self._status is None:
                self._status = event["status"]
            elif event["event"] == "finished":
                self._open.discard(event["stream"])

    def _take_stderr(self) -> None:
        if self._stderr is None or self._stderr_log is None:
            return
        data = self._stderr.recv(_RECEIVE)
        if data:
            self._stderr_log.write(data)
        else:
            self.loop.forget(self._stderr)
            self._stderr = None

    def _drain(self) -> None:
        """Read the output of a QEMU that has ended, until each stream has ended."""
        self.loop.run_until(lambda: not self._open or self.link.error is not None, DRAIN_S)
        # All data was received, and what is unread fits the sockets.
        while self._stderr is not None and self.loop.turn(0):
            pass

    def _close(self) -> None:
        self.link.end_run(self.run)
        self.link.drop(list(self._streams))
        super()._close()
        self.link.ask("release", run=self.run)
        for ours in self._streams.values():
            ours.close()
        if self._stderr_log is not None:
            self._stderr_log.close()


def _ends(streams: Mapping[str, tuple[int, socket.socket]]) -> dict[str, socket.socket]:
    return {name: ours for name, (_, ours) in streams.items()}


def _numbers(streams: Mapping[str, tuple[int, socket.socket]]) -> dict[str, int | None]:
    return {name: number for name, (number, _) in streams.items()}
