# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's trace events as the witness of a run in progress."""

from __future__ import annotations

import contextlib
import os
import select
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from snp_harness.apic.timeline import Timeline
from snp_harness.capture.collect import Collector
from snp_harness.capture.console_text import ConsoleText
from snp_harness.capture.qemu_trace import APIC_EVENTS, BASE_EVENTS, FW_CFG_EVENT, REGION_EVENTS, SERIAL_EVENT
from snp_harness.capture.trace_timeline import NOT_OBSERVED, WITNESS, TraceTimeline
from snp_harness.launch.tokens import PATH, token
from snp_harness.platforms.session import Ending
from snp_harness.vm import rundir
from snp_harness.vm.console import BoundedLog
from snp_harness.vm.machine_base import MachineBase
from snp_harness.vm.qemu_errors import QmpEndedError
from snp_harness.vm.rundir import RunDirectory

#: Bytes of one read.
_RECEIVE = 1 << 20
_PIPE = "trace"
#: Bytes of trace events kept on disk.
TRACE_LIMIT = 32 << 20


class TraceWitness:
    """QEMU's trace events of one machine, through a pipe.

    console: searches what the guest prints, None if that is not to be in the trace.
    pipes, stand_ins: for the machine's devices; in a run by hand trace events go to a file.
    """

    pipes = (_PIPE,)
    stand_ins: Mapping[str, str] = MappingProxyType({token(PATH, _PIPE): rundir.TRACE})

    def __init__(
        self, vcpus: int, collector: Collector, directory: RunDirectory, console: ConsoleText | None = None
    ) -> None:
        self.timeline = TraceTimeline(vcpus, collector, console)
        self._serial = () if console is None else (SERIAL_EVENT,)
        self._collector = collector
        self._regions_on = False
        self._machine: MachineBase | None = None
        self._log = BoundedLog(directory.file(rundir.TRACE), TRACE_LIMIT)
        self._read_fd = -1

    @property
    def arguments(self) -> list[str]:
        """Return QEMU's arguments: trace events go to the pipe, with their times; the guest waits for `start`."""
        return ["-S", "-D", token(PATH, _PIPE), "-msg", "timestamp=on"]

    def start(self, machine: MachineBase) -> None:
        """Enable the events, then start the guest, so that no event is missed."""
        self._connect(machine)
        machine.qmp.execute("cont")

    def resume(self, machine: MachineBase, before: Iterable[bytes], gap_s: float) -> None:
        """Read again what an earlier machine has reported, then enable the events of one that goes on, stopped.

        gap_s: between the two, seconds.
        """
        for data in before:
            self._add(data)
        self.timeline.skip(int(gap_s * 1e9))
        self._connect(machine)

    @property
    def has_all(self) -> bool:
        """Whether the raw log has all events that were read."""
        return not self._log.dropped

    def settle(self) -> None:
        """Read what a stopped machine has reported."""
        while self._read_fd >= 0 and select.select([self._read_fd], [], [], 0)[0] and self._take():
            pass

    def step(self) -> float:
        """Disable the frequent events when they are no longer needed; returns the seconds until the next call."""
        if self._regions_on and not self.timeline.regions_wanted:
            # A QEMU that ends just now needs no fewer events.
            with contextlib.suppress(QmpEndedError):
                self._enable(REGION_EVENTS, False)
            self._regions_on = False
        return 1.0

    def finish(
        self, platform: str, ending: Ending, *, alternate_injection: bool = False, svsm: bool = False
    ) -> Timeline:
        """Read the rest and return the timeline, after QEMU has ended. The flags are the run's configuration."""
        if self._read_fd >= 0:
            # All that is left is in the pipe. It has no end if the host is lost.
            os.set_blocking(self._read_fd, False)
        while self._take():
            pass
        self.timeline.flush()
        self.close()
        return self.seen(platform, ending, alternate_injection=alternate_injection, svsm=svsm)

    def seen(self, platform: str, ending: Ending, *, alternate_injection: bool = False, svsm: bool = False) -> Timeline:
        """Return the timeline of what was read so far; arguments as in `finish`."""
        gaps = [ending.gap] if ending.gap else []
        if self.timeline.unread:
            gaps.append(f"{self.timeline.unread} lines of QEMU's trace were too long")
        return self._collector.finish(
            witness=WITNESS,
            platform=platform,
            gaps=gaps,
            lost=0,
            not_observed=NOT_OBSERVED,
            alternate_injection=alternate_injection,
            svsm=svsm,
        )

    def close(self) -> None:
        """Close the pipe and the log."""
        if self._read_fd >= 0:
            if self._machine is not None:
                # Another file may get the number while the loop still runs.
                self._machine.loop.forget(self._read_fd)
            os.close(self._read_fd)
        self._read_fd = -1
        self._log.close()

    def _connect(self, machine: MachineBase) -> None:
        self._machine = machine
        self._read_fd = machine.take_pipe(_PIPE)
        machine.loop.watch(self._read_fd, self._readable)
        self._enable((*APIC_EVENTS, *BASE_EVENTS, FW_CFG_EVENT, *self._serial, *REGION_EVENTS), True)
        self._regions_on = True

    def _enable(self, names: Sequence[str], on: bool) -> None:
        """Enable or disable events; names that this version of QEMU does not have are ignored."""
        assert self._machine is not None
        # A trailing star makes an unknown name an empty pattern, not an error.
        self._machine.qmp.execute_all([("trace-event-set-state", {"name": f"{name}*", "enable": on}) for name in names])

    def _readable(self) -> None:
        if not self._take() and self._machine is not None:
            self._machine.loop.forget(self._read_fd)

    def _take(self) -> bool:
        """Read what the pipe holds; False at its end."""
        if self._read_fd < 0:
            return False
        try:
            data = os.read(self._read_fd, _RECEIVE)
        except BlockingIOError:
            return False
        self._add(data)
        return bool(data)

    def _add(self, data: bytes) -> None:
        # First what the verdict is made of: the disk may be full.
        self.timeline.feed(data)
        self._collector.position += len(data)
        self._log.write(data)
