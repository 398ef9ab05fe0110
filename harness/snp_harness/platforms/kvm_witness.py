# SPDX-License-Identifier: GPL-2.0-or-later
"""KVM's trace events as the witness of a run in progress, on any host."""

from __future__ import annotations

import socket
from concurrent.futures import Future
from typing import Annotated, Any

import msgspec

from snp_harness.apic.access import Phase
from snp_harness.apic.timeline import Timeline
from snp_harness.capture.collect import Collector
from snp_harness.capture.kvm_timeline import NOT_OBSERVED_ENCRYPTED, NOT_OBSERVED_PLAIN, WITNESS, KvmTimeline
from snp_harness.capture.kvm_trace import ENCRYPTED_EVENTS, EXITS_OF_ACCESSES, PLAIN_EVENTS, REQUIRED_EVENTS
from snp_harness.capture.module_names import Firmware
from snp_harness.errors import HarnessError, UsageError
from snp_harness.hosts.answers import Image, Traced, Untraced, checked
from snp_harness.hosts.host_errors import HostTimeoutError
from snp_harness.hosts.remote_machine import RemoteMachine
from snp_harness.platforms.session import Ending
from snp_harness.vm import rundir
from snp_harness.vm.console import BoundedLog
from snp_harness.vm.qemu_errors import printable
from snp_harness.vm.rundir import RunDirectory

#: Bytes of trace events kept on disk.
TRACE_LIMIT = 64 << 20
#: Seconds to wait for the last events.
FINISH_S = 120.0
_RECEIVE = 1 << 18
#: Pages of one request for modules, and seconds until its answer is read.
_PAGES = 64
_ASKED_S = 0.02
#: QEMU's type of KVM's APIC (hw/i386/kvm/apic.c).
_KERNEL_APIC = "kvm-apic"
#: Longest list of events' names, characters.
_NAMES_MAX = 400
#: Seconds between two calls of `step`: events wake the loop earlier.
_STEP_S = 1.0
_CPUS = "query-cpus-fast"


class _Cpu(msgspec.Struct, frozen=True, rename="kebab"):
    """An entry of the answer to query-cpus-fast."""

    thread_id: int
    cpu_index: int
    qom_path: str


_Cpus = Annotated[list[_Cpu], msgspec.Meta(min_length=1)]


class KvmWitness:
    """KVM's trace events of one machine.

    firmware: as in KvmTimeline, None for an encrypted guest. svsm: an SVSM runs before the firmware.
    memory: bytes of guest memory in which modules are searched; 0 for no search.
    """

    #: QEMU's arguments: the guest waits for `start`.
    arguments = ("-S",)
    #: Buffer of each processor, KiB; None for the agent's default.
    buffer_kb: int | None = None
    #: Seconds between two reads of the agent while events arrive: a read for each would slow the guest.
    interval_s = 0.01

    def __init__(
        self,
        collector: Collector,
        firmware: Firmware | None,
        directory: RunDirectory,
        *,
        svsm: bool = False,
        memory: int = 0,
    ) -> None:
        self.timeline = KvmTimeline(collector, firmware, svsm=svsm)
        self._collector = collector
        self._encrypted = firmware is None
        self._svsm = svsm
        self._log = BoundedLog(directory.file(rundir.TRACE), TRACE_LIMIT)
        self._machine: RemoteMachine | None = None
        self._stream: socket.socket | None = None
        self._number = 0
        self._gaps: list[str] = []
        self._cut_off = ""
        self._ending = False
        # The exits of an encrypted guest are VMGEXITs, which are filtered from the start.
        self._quiet = firmware is None
        self._memory = memory
        self._asked: Future[Any] | None = None

    def start(self, machine: RemoteMachine) -> None:
        """Start the trace of this QEMU, then the guest, so that no event is missed.

        Raises HarnessError if the host cannot trace it.
        """
        self._machine = machine
        # After the answer the threads of QEMU's vCPUs exist.
        cpus = checked(machine.link.name, _CPUS, machine.qmp.execute(_CPUS), _Cpus)
        self.timeline.vcpus = {cpu.thread_id: cpu.cpu_index for cpu in cpus}
        _require_kernel_apic(machine, cpus[0].qom_path)
        self._number, self._stream = machine.stream(reads=False)
        self._stream.setblocking(False)
        machine.loop.watch(self._stream, self._readable)
        events = dict(ENCRYPTED_EVENTS if self._encrypted else PLAIN_EVENTS)
        required = [name for name in events if name in REQUIRED_EVENTS or "vmgexit" in name]
        told = machine.link.take(
            "trace",
            Traced,
            run=machine.run,
            stream=self._number,
            events=events,
            required=required,
            buffer_kb=self.buffer_kb,
            interval_s=self.interval_s,
        )
        self._note(told)
        machine.qmp.execute("cont")

    def step(self) -> float:
        """Find modules that firmware has moved, and record fewer events if fewer are needed; `step` of a Session."""
        self._name_modules()
        self._quieten()
        return _STEP_S if self._asked is None else _ASKED_S

    def end(self) -> None:
        """Read the remaining events; call it before the machine is closed. What cannot be read is a gap."""
        machine = self._machine
        if machine is None or not self._number or self._ending:
            return
        self._ending = True
        try:
            self._name_rest(machine)
            answer = machine.link.ask("untrace", run=machine.run)
            if not machine.wait(answer, FINISH_S):
                raise HostTimeoutError(f"the host did not answer in {FINISH_S:g} s", "see its load and the network")
            told = checked(machine.link.name, "untrace", answer.result(), Untraced)
            if not machine.loop.run_until(lambda: self._stream is None, FINISH_S):
                self._gaps.append(f"the end of KVM's trace did not arrive in {FINISH_S:g} s")
            self._lost(told.lost)
        except HarnessError as error:
            self._cut_off = error.message
            machine.drop_stream(self._number)

    def finish(self, platform: str, ending: Ending, *, alternate_injection: bool = False) -> Timeline:
        """Return the timeline. alternate_injection: of the run's configuration."""
        self.timeline.flush()
        self.close()
        return self.seen(platform, ending, alternate_injection=alternate_injection)

    def seen(self, platform: str, ending: Ending, *, alternate_injection: bool = False) -> Timeline:
        """Return the timeline of what was read so far; arguments as in `finish`."""
        timeline = self.timeline
        gaps = [ending.gap] if ending.gap else []
        gaps += self._gaps
        # If the host is lost, the ending reports it.
        if self._cut_off and self._cut_off != ending.gap:
            gaps.append(f"KVM's trace was cut off: {self._cut_off}")
        gaps += timeline.gaps()
        if not self._collector.started:
            gaps.append("KVM's trace shows no events of the guest: the host may be in a process namespace of its own")
        return self._collector.finish(
            witness=WITNESS,
            platform=platform,
            gaps=gaps,
            lost=timeline.lost,
            not_observed=NOT_OBSERVED_ENCRYPTED if self._encrypted else NOT_OBSERVED_PLAIN,
            alternate_injection=alternate_injection,
            svsm=self._svsm,
        )

    def close(self) -> None:
        """Close the stream and the log."""
        if self._stream is not None:
            if self._machine is not None:
                self._machine.loop.forget(self._stream)
            self._stream.close()
            self._stream = None
        self._log.close()

    def _name_modules(self) -> None:
        """Read the answer about the last pages, and request the next. The content of guest memory is not trusted."""
        if self._machine is None or not self._memory:
            return
        if self._asked is not None:
            if not self._asked.done():
                return
            asked, self._asked = self._asked, None
            try:
                answer = self._machine.link.result(asked, "images")
                for image in checked(self._machine.link.name, "images", answer, list[Image])[:_PAGES]:
                    self.timeline.add_image(image.base, image.size, image.entry)
            except HarnessError:
                # Modules stay without names; other requests report what is wrong with the host.
                self._memory = 0
                return
            self.timeline.name_modules()
        pages = self.timeline.unnamed(_PAGES)
        if pages:
            self._asked = self._machine.link.ask("images", run=self._machine.run, memory=self._memory, addresses=pages)

    def _quieten(self) -> None:
        """From DXE on exits show no phase any more, and are many: only accesses are recorded."""
        if self._machine is not None and not self._quiet and self._collector.phase >= Phase.DXE:
            self._quiet = True
            self._machine.link.ask("filter", run=self._machine.run, event="kvm_exit", filter=EXITS_OF_ACCESSES)

    def _name_rest(self, machine: RemoteMachine) -> None:
        """Name the modules seen last; the guest still runs, or its memory is still there."""
        for _ in range(2):
            self._name_modules()
            if self._asked is not None:
                machine.wait(self._asked, FINISH_S)
        self._name_modules()

    def _note(self, told: Traced) -> None:
        """Record in the timeline how the trace was made."""
        clock = told.clock[:_NAMES_MAX]
        missing, unfiltered = (", ".join(names)[:_NAMES_MAX] for names in (told.missing, told.unfiltered))
        text = f"KVM's trace events, clock {clock}"
        text += f"; this kernel has no {missing}" if missing else ""
        text += f"; recorded whole: {unfiltered}" if unfiltered else ""
        self._collector.event("kvm-trace", None, None, text, clock=clock, missing=missing, unfiltered=unfiltered)

    def _lost(self, counted: int) -> None:
        """Count lost events as the buffers report them; lines of the trace may have reported a part of them before."""
        self.timeline.lost = max(self.timeline.lost, counted)

    def _readable(self) -> None:
        if self._stream is None or self._machine is None:
            return
        try:
            data = self._stream.recv(_RECEIVE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._log.write(data)
            self.timeline.feed(data)
            return
        if not self._ending and self._machine.link.error is None:
            self._gaps.append("KVM's trace ended before the run did")
        self._machine.loop.forget(self._stream)
        self._stream.close()
        self._stream = None


def _require_kernel_apic(machine: RemoteMachine, cpu: str) -> None:
    """Raise UsageError if the APIC is QEMU's, whose accesses KVM does not see."""
    kind = machine.qmp.execute("qom-get", path=f"{cpu}/lapic", property="type")
    if kind != _KERNEL_APIC:
        raise UsageError(
            f"the guest's APIC is QEMU's ({printable(str(kind), _NAMES_MAX)}), not KVM's",
            "leave kernel-irqchip as it is: on, or split",
        )
