# SPDX-License-Identifier: GPL-2.0-or-later
"""Plain QEMU TCG: no SEV, QEMU's own APIC, seen through QEMU's trace events."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from snp_harness.capture.collect import Collector
from snp_harness.capture.module_names import ModuleMap
from snp_harness.check import Check
from snp_harness.hosts.local import LOCAL
from snp_harness.launch.tokens import FILE, token
from snp_harness.platforms import kept_run
from snp_harness.platforms.common import cpu_argument, machine_arguments, qemu_check
from snp_harness.platforms.extra_arguments import check_log
from snp_harness.platforms.platform import Progress, RunOutcome, RunSpec
from snp_harness.platforms.session import Session
from snp_harness.platforms.stuck import StuckWatch
from snp_harness.platforms.trace_witness import TraceWitness
from snp_harness.vm import rundir
from snp_harness.vm.machine_base import Devices
from snp_harness.vm.rundir import RunDirectory

if TYPE_CHECKING:
    from snp_harness.hosts.host import Host

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

    def run(self, spec: RunSpec, directory: RunDirectory, progress: Progress) -> RunOutcome:
        """Run the guest to spec.until. Raises HarnessError if it could not be started."""
        check_log(spec.extra_args)
        binary = spec.host.qemu(spec.qemu)
        firmware = spec.image
        image = rundir.ROM
        directory.write_input(image, firmware.flat())
        kept_run.note(directory, self.name, spec)
        collector = Collector()
        with contextlib.ExitStack() as stack:
            witness = TraceWitness(spec.vcpus, collector, directory)
            stack.callback(witness.close)
            arguments = [
                *machine_arguments(spec, cpu_argument(spec, CPU)),
                *("-m", f"{spec.memory >> 20}", "-bios", token(FILE, image)),
                *witness.arguments,
                *spec.extra_args,
            ]
            devices = Devices(
                consoles={"serial": rundir.SERIAL}, pipes=witness.pipes, files=[image], stand_ins=witness.stand_ins
            )
            machine = spec.host.machine(binary, arguments, directory, devices)
            with machine:
                witness.start(machine)
                stuck = StuckWatch(machine, collector, ModuleMap(firmware).describe)
                ending = Session(machine, spec, collector, progress, witness.step, stuck=stuck).run()
                version = ".".join(map(str, machine.qmp.version))
            timeline = witness.finish(self.name, ending)
        return RunOutcome(timeline, ending.error, ending.interrupt, f"{version}, {binary.name}")


PLATFORM = TcgPlatform()
