# SPDX-License-Identifier: GPL-2.0-or-later
"""Plain QEMU TCG: no SEV, QEMU's own APIC, seen through QEMU's trace events."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from snp_harness.capture.collect import Collector
from snp_harness.capture.module_names import ModuleMap
from snp_harness.check import Check
from snp_harness.hosts.local import LOCAL
from snp_harness.launch.tokens import FILE, token
from snp_harness.platforms import kept_run
from snp_harness.platforms.common import cpu_argument, machine_arguments, qemu_check
from snp_harness.platforms.console_goal import log_console
from snp_harness.platforms.extra_arguments import check_log
from snp_harness.platforms.plain_guest import locate_plain, plain_registers
from snp_harness.platforms.platform import RunOutcome, RunSpec
from snp_harness.platforms.running import Peek, Running
from snp_harness.platforms.stuck import StuckWatch
from snp_harness.platforms.trace_witness import TraceWitness
from snp_harness.vm import rundir
from snp_harness.vm.machine_base import Devices
from snp_harness.vm.rundir import RunDirectory

if TYPE_CHECKING:
    from snp_harness.apic.timeline import Timeline
    from snp_harness.hosts.host import Host
    from snp_harness.platforms.saved import Resume, Saved
    from snp_harness.platforms.session import Ending
    from snp_harness.vm.machine_base import MachineBase

#: QEMU's 64-bit default model, by name: it has an APIC, and x2APIC from QEMU 9.0 on.
CPU = "max"


class TcgPlatform:
    """Runs the firmware as a plain guest without SEV, on QEMU's own APIC."""

    name = "tcg"
    observed_on = "QEMU TCG, no SEV"
    configurable = False
    alternate_injection = False

    def probe(self, host: Host = LOCAL, qemu: Path | None = None) -> list[Check]:
        """Check for a QEMU; nothing else is needed."""
        return [qemu_check(host, qemu)]

    def start(self, spec: RunSpec, directory: RunDirectory, stack: contextlib.ExitStack) -> Running:
        """Start the guest. Raises HarnessError if it could not be started."""
        return self._start(None, spec, directory, stack)

    def _start(
        self, saved: Saved | None, spec: RunSpec, directory: RunDirectory, stack: contextlib.ExitStack
    ) -> Running:
        check_log(spec.extra_args)
        binary = spec.host.qemu(spec.qemu)
        firmware = spec.image
        image = rundir.ROM
        directory.write_input(image, firmware.flat())
        kept_run.note(directory, self.name, spec, restored=saved is not None)
        collector = Collector()
        witness = TraceWitness(spec.vcpus, collector, directory, log_console(spec, collector))
        stack.callback(witness.close)
        arguments = [
            # With a thread for each vCPU, Linux' check of its timer fails on a busy machine, and 7.2 breaks Linux 6.12.
            *machine_arguments(spec, cpu_argument(spec, CPU), accelerator="tcg,thread=single"),
            *("-m", f"{spec.memory >> 20}", "-bios", token(FILE, image)),
            *witness.arguments,
            *(saved.arguments if saved else ()),
            *spec.extra_args,
        ]
        devices = Devices(
            consoles={"serial": rundir.SERIAL}, pipes=witness.pipes, files=[image], stand_ins=witness.stand_ins
        )
        machine = stack.enter_context(spec.host.machine(binary, arguments, directory, devices))
        if saved is None:
            witness.start(machine)
        else:
            saved.load(machine, spec.timeout_s)
            witness.resume(machine, saved.replay(rundir.TRACE, collector), time.time() - saved.saved_s)
        stuck = StuckWatch(machine, collector, ModuleMap(firmware).describe)
        return _TcgGuest(machine, collector, witness, stuck, spec, len(firmware.flat()), self._start)


class _TcgGuest(Running):
    """A guest on plain TCG. rom: bytes of it. resume: starts it when it was saved."""

    platform = TcgPlatform.name

    def __init__(
        self,
        machine: MachineBase,
        collector: Collector,
        witness: TraceWitness,
        stuck: StuckWatch,
        spec: RunSpec,
        rom: int,
        resume: Resume,
    ) -> None:
        self.machine = machine
        self.collector = collector
        self.stuck = stuck
        self.console_in_log = spec.follows_console
        self._witness = witness
        self._spec = spec
        self._ram, self._rom = spec.memory, rom
        self._resume = resume

    def step(self) -> float:
        """Read the witnesses, as Running.step."""
        return self._witness.step()

    def timeline(self, ending: Ending) -> Timeline:
        """Return what was seen so far."""
        return self._witness.seen(self.platform, ending)

    def locate(self, _peek: Peek, gpas: Sequence[int], vmpl: int | None, *, write: bool) -> list[int]:
        """Return the address of each GPA, which is the same."""
        return [locate_plain(self.platform, gpa, self._ram, self._rom, vmpl, write=write) for gpa in gpas]

    def registers(self, _peek: Peek, printed: str, vcpu: int, vmpl: int | None) -> dict[str, int]:
        """Return the registers of a vCPU, which QEMU has."""
        return plain_registers(self.platform, printed, vcpu, vmpl)

    def save(self, path: Path) -> Saved:
        """Save the guest, as Running.save."""
        from snp_harness.platforms.saved import log_too_long, save

        self._witness.settle()
        if not self._witness.has_all:
            raise log_too_long(rundir.TRACE)
        return save(self, path, [rundir.TRACE], self._ram + self._rom, self._resume, self._spec)

    def finish(self, ending: Ending) -> RunOutcome:
        """Stop QEMU, read the rest, and return the outcome."""
        version = ".".join(map(str, self.machine.qmp.version))
        self.machine.stop()
        timeline = self._witness.finish(self.platform, ending)
        return RunOutcome(timeline, ending.error, ending.interrupt, f"{version}, {self.machine.binary.name}")


PLATFORM = TcgPlatform()
