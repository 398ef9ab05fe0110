# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest on the emulated SNP host: its witnesses, and its end."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from snp_harness.apic.timeline import Timeline
from snp_harness.capture.host_account import ACCOUNT_WORDS, HostAccount
from snp_harness.errors import HarnessError, UnsupportedError
from snp_harness.platforms.gate import leave_guest
from snp_harness.platforms.platform import RunOutcome
from snp_harness.platforms.running import Peek, Running
from snp_harness.platforms.saved import log_too_long, save
from snp_harness.platforms.session import Ending
from snp_harness.platforms.stuck import StuckWatch
from snp_harness.platforms.svsm_console import NO_ALTERNATE_INJECTION, PanicWatch, note_lacking_features
from snp_harness.platforms.view import View
from snp_harness.vm import rundir
from snp_harness.vm.machine import Machine

if TYPE_CHECKING:
    from snp_harness.capture.goal import Position
    from snp_harness.platforms.host_witness import HostWitness
    from snp_harness.platforms.memory_map import MemoryMap
    from snp_harness.platforms.platform import RunSpec
    from snp_harness.platforms.saved import Resume, Saved
    from snp_harness.platforms.trace_witness import TraceWitness
    from snp_harness.vm.machine_base import MachineBase
    from snp_harness.vm.rundir import RunDirectory

#: Seconds after the hypervisor's start in which a firmware's SEC has made its first accesses.
_SEC_S = 0.15


class EmulatedGuest(Running):
    """A guest on the emulated SNP host.

    second: a witness of QEMU's trace events, if any. resume: starts the guest when it was saved. later: called when the
    guest's first accesses are judged.
    """

    def __init__(
        self,
        platform: str,
        machine: MachineBase,
        spec: RunSpec,
        witness: HostWitness,
        second: TraceWitness | None,
        directory: RunDirectory,
        memory: MemoryMap,
        resume: Resume,
        later: Callable[[], None],
    ) -> None:
        self.platform = platform
        self.machine = machine
        self.collector = witness.collector
        self.console_in_log = spec.follows_console
        self.is_current = spec.host.here
        self.stuck = StuckWatch(machine, witness.collector, witness.describe, witness.halted)
        self.memory = memory
        self._spec = spec
        self._witness = witness
        self._second = second
        self._directory = directory
        self._resume = resume
        self._later: Callable[[], None] | None = later
        machine.console("svsm").watch(NO_ALTERNATE_INJECTION, self._refused)
        if spec.svsm.present:
            for name in ("svsm", "serial"):
                note_lacking_features(machine.console(name), witness.collector)
        self._panic = PanicWatch(machine.console("svsm"), machine.console("serial"), lambda: witness.guest_started)

    def step(self) -> float:
        """Read the witnesses, as Running.step."""
        if self._later is not None and self._has_begun():
            self._later()
            self._later = None
        wait = self._witness.step()
        return wait if self._second is None else min(wait, self._second.step())

    def is_open(self, position: Position | None = None) -> bool:
        """Whether a vCPU waits for the answer of an access, as Running.is_open."""
        return self._witness.is_open(position)

    def exits(self) -> int | None:
        """Return the #VMEXITs so far."""
        return self._witness.exits()

    def ended(self) -> Ending | None:
        """Return the end that a witness has seen."""
        if self._witness.stopped:
            # What the SVSM printed before it stopped may not be read yet.
            self.machine.loop.turn(0)
        elif self._panic.over(self._directory):
            return Ending("the SVSM panicked and did not end")
        return self._witness.ended()

    def timeline(self, ending: Ending) -> Timeline:
        """Return what was seen so far."""
        return self._witness.outcome(self.platform, ending, "").timeline

    def locate(self, peek: Peek, gpas: Sequence[int], vmpl: int | None, *, write: bool) -> list[int]:
        """Return where the byte at each GPA is, as the VMPL sees it by the nested page table and the RMP."""
        view = View.read(peek, self.memory.view_base)
        seen_by = self._spec.svsm.guest_vmpl if vmpl is None else vmpl
        return [view.locate(peek, gpa, seen_by, write=write) for gpa in gpas]

    def registers(self, peek: Peek, printed: str, vcpu: int, vmpl: int | None) -> dict[str, int]:
        """Return the registers of a vCPU: from the processor if it runs there, else where the hardware saved them."""
        return View.read(peek, self.memory.view_base).registers(peek, printed, vcpu, vmpl)

    def save(self, path: Path) -> Saved:
        """Save the guest, as Running.save: the hypervisor and its account of the log are in QEMU's memory."""
        if not isinstance(self.machine, Machine):
            raise UnsupportedError(self.platform, "take a snapshot", "QEMU runs on another host")
        assert self.machine.devices.ring is not None
        # The guest gets the NMIs of QEMU's own APIC itself.
        own = self._spec.svsm.hypervisor.apic.value == "virtual"
        leave_guest(self.machine, self.machine.devices.ring.memory, interrupt=own)
        self._witness.step()
        if not self._witness.has_all:
            raise log_too_long(rundir.HOST_LOG)
        logs = [rundir.HOST_LOG]
        if self._second is not None:
            self._second.settle()
            if not self._second.has_all:
                raise log_too_long(rundir.TRACE)
            logs.append(rundir.TRACE)
        return save(self, path, logs, self.memory.maxmem, self._resume, self._spec)

    def finish(self, ending: Ending) -> RunOutcome:
        """Stop QEMU, read the rest, and return the outcome."""
        if ending.error is None and ending.interrupt is None and not ending.fast:
            self._witness.compare(self._account(), self.machine.loop)
        self.machine.stop()
        self._witness.finish()
        ending = self._witness.with_panic(ending, self._directory)
        seen = None
        if self._second is not None:
            config = self._spec.svsm
            seen = self._second.finish(
                self.platform, ending, alternate_injection=config.alternate_injection, svsm=config.present
            )
        return self._witness.outcome(self.platform, ending, str(self.machine.binary), seen)

    def _has_begun(self) -> bool:
        """Whether what was read before has accesses of the guest, or it has run for so long that it may make none."""
        started = self.collector.started_at
        return self.collector.count > 0 or (started is not None and time.monotonic() - started > _SEC_S)

    def _account(self) -> HostAccount | None:
        """Stop QEMU and return the hypervisor's account of its log; None if QEMU has ended, or its host is lost."""
        command = f"xp /{ACCOUNT_WORDS}gx {self.memory.account_base:#x}"
        with contextlib.suppress(HarnessError):
            if not self.machine.ended:
                self.machine.qmp.execute("stop")
                return HostAccount.parse(self.machine.qmp.execute("human-monitor-command", command_line=command))
        return None

    def _refused(self, _text: str) -> None:
        self._witness.alternate_injection_refused = True
