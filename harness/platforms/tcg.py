# SPDX-License-Identifier: GPL-2.0-or-later
"""Plain QEMU TCG: no SEV, QEMU's own APIC, seen through QEMU's trace events."""

from __future__ import annotations

import contextlib
import fcntl
import os

from harness.capture.collect import Collector
from harness.capture.qemu_trace import APIC_EVENTS, BASE_EVENTS, FW_CFG_EVENT, REGION_EVENTS
from harness.capture.trace_timeline import NOT_OBSERVED, WITNESS, TraceTimeline
from harness.check import Check
from harness.firmware.image import FirmwareImage
from harness.platforms.base import Progress, RunOutcome, RunSpec
from harness.platforms.common import machine_arguments, qemu_check
from harness.platforms.session import Ending, Session
from harness.vm import rundir
from harness.vm.console import BoundedLog
from harness.vm.machine import Machine, descriptor_path
from harness.vm.qemu import QemuBinary
from harness.vm.rundir import RunDirectory

#: Bytes the pipe of trace events holds: QEMU waits when it is full, and so does the guest.
_PIPE_SIZE = 1 << 20
#: Bytes of trace events kept on disk.
TRACE_LIMIT = 32 << 20
#: QEMU's 64-bit default model, named: it has an APIC, and x2APIC where TCG has one (QEMU 9.0 and later).
CPU = "max"


class TraceWitness:
    """QEMU's trace events of one machine, through a pipe."""

    def __init__(self, vcpus: int, collector: Collector, directory: RunDirectory) -> None:
        self.timeline = TraceTimeline(vcpus, collector)
        self._regions_on = False
        self._machine: Machine | None = None
        self._log = BoundedLog(directory.file(rundir.TRACE), TRACE_LIMIT)
        self._read_fd, self.write_fd = os.pipe()
        with contextlib.suppress(OSError):
            # The limit for one user may be smaller; any size works.
            fcntl.fcntl(self.write_fd, fcntl.F_SETPIPE_SZ, _PIPE_SIZE)

    @property
    def arguments(self) -> list[str]:
        """QEMU's arguments: trace events go to the pipe, with their times."""
        return ["-D", descriptor_path(self.write_fd), "-msg", "timestamp=on"]

    @property
    def stand_ins(self) -> dict[str, str]:
        """For a run by hand: trace events go to a file."""
        return {descriptor_path(self.write_fd): rundir.TRACE}

    def attach(self, machine: Machine) -> None:
        """Enable the events of a machine that was started with -S."""
        self._machine = machine
        os.close(self.write_fd)
        self.write_fd = -1
        machine.loop.add(self._read_fd, self._readable)
        for name in (*APIC_EVENTS, *BASE_EVENTS, FW_CFG_EVENT):
            self._enable(name, True)
        self._enable_regions(True)

    def step(self) -> float:
        """Turn off the noisy events when they are no longer needed."""
        if self._regions_on and not self.timeline.regions_wanted:
            self._enable_regions(False)
        return 1.0

    def finish(self) -> list[str]:
        """Take the rest; returns what was missed, a sentence each. Call it when QEMU has ended."""
        while self._take():
            pass
        self.timeline.flush()
        self.close()
        return [f"{self.timeline.unread} lines of QEMU's trace were too long"] if self.timeline.unread else []

    def close(self) -> None:
        """Close the pipe and the log."""
        for fd in (self._read_fd, self.write_fd):
            if fd >= 0:
                os.close(fd)
        self._read_fd = self.write_fd = -1
        self._log.close()

    def _enable(self, name: str, on: bool) -> None:
        """Events that this version of QEMU does not have are patterns that match nothing."""
        assert self._machine is not None
        # A trailing star makes an unknown name an empty pattern, not an error.
        self._machine.qmp.execute("trace-event-set-state", name=f"{name}*", enable=on)

    def _enable_regions(self, on: bool) -> None:
        self._regions_on = on
        for name in REGION_EVENTS:
            self._enable(name, on)

    def _readable(self) -> None:
        if not self._take() and self._machine is not None:
            self._machine.loop.remove(self._read_fd)

    def _take(self) -> bool:
        """Take what the pipe has; False at its end."""
        if self._read_fd < 0:
            return False
        data = os.read(self._read_fd, _PIPE_SIZE)
        self._log.write(data)
        self.timeline.feed(data)
        return bool(data)


class TcgPlatform:
    """The firmware as a plain guest: what it does without SEV, on an APIC that is not the harness's."""

    name = "tcg"

    def probe(self) -> list[Check]:
        """A QEMU is all it needs."""
        return [qemu_check()]

    def run(self, spec: RunSpec, directory: RunDirectory, progress: Progress) -> RunOutcome:
        """See Platform.run."""
        binary = QemuBinary.locate(spec.qemu)
        firmware = FirmwareImage.open(spec.firmware)
        image = rundir.ROM
        directory.file(image).write_bytes(firmware.flat())
        collector = Collector()
        gaps: list[str] = []
        with contextlib.ExitStack() as stack:
            witness = TraceWitness(spec.vcpus, collector, directory)
            stack.callback(witness.close)
            arguments = [
                *machine_arguments(spec, CPU),
                *("-m", f"{spec.memory >> 20}", "-bios", str(directory.file(image))),
                *("-S", *witness.arguments, *spec.extra_args),
            ]
            machine = Machine(
                binary,
                arguments,
                directory,
                consoles={"serial": rundir.SERIAL},
                pass_fds=[witness.write_fd],
                stand_ins={**witness.stand_ins, str(directory.file(image)): image},
            )
            with machine:
                witness.attach(machine)
                machine.qmp.execute("cont")
                ending = Session(machine, spec, collector, progress, witness.step).run()
                version = ".".join(map(str, machine.qmp.version))
            gaps += witness.finish()
        return _outcome(ending, gaps, collector, f"{version}, {binary.path}")


def _outcome(ending: Ending, gaps: list[str], collector: Collector, qemu: str) -> RunOutcome:
    timeline = collector.finish(
        witness=WITNESS,
        platform=TcgPlatform.name,
        gaps=([ending.gap] if ending.gap else []) + gaps,
        lost=0,
        not_observed=NOT_OBSERVED,
        alternate_injection=False,
        svsm=False,
    )
    return RunOutcome(timeline, ending.error, ending.interrupt, qemu)


PLATFORM = TcgPlatform()
