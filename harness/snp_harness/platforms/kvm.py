# SPDX-License-Identifier: GPL-2.0-or-later
"""Linux KVM: the firmware as a plain guest, its APIC in the kernel, seen through the kernel's trace events."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from snp_harness.capture.collect import Collector
from snp_harness.capture.kvm_trace import EVENTS, REQUIRED_EVENTS
from snp_harness.check import Check, CheckStatus, first_missing
from snp_harness.errors import BrokenEnvironmentError, HarnessError, UsageError
from snp_harness.hosts.local import LOCAL
from snp_harness.launch.tokens import FILE, token
from snp_harness.platforms.common import cpu_argument, machine_arguments, qemu_check
from snp_harness.platforms.kvm_witness import KvmWitness
from snp_harness.platforms.platform import Progress, RunOutcome, RunSpec
from snp_harness.platforms.session import Session
from snp_harness.vm import rundir
from snp_harness.vm.machine_base import Devices
from snp_harness.vm.rundir import RunDirectory

if TYPE_CHECKING:
    from snp_harness.hosts.answers import KvmAnswer, Tracing
    from snp_harness.hosts.host import Host
    from snp_harness.hosts.remote import RemoteHost

#: The host's own model: OVMF runs on every model.
CPU = "host"
#: Longest value of a module's parameter, characters.
_NAME_MAX = 80
NO_INPUTS: Mapping[str, Path] = MappingProxyType({})


class KvmPlatform:
    """Runs the firmware as a plain guest of KVM, without SEV, on the APIC of KVM that SNP hosts use too."""

    name = "kvm"
    observed_on = "KVM, no SEV"
    configurable = False
    alternate_injection = False

    def probe(self, host: Host = LOCAL, qemu: Path | None = None) -> list[Check]:
        """Check for a QEMU, a KVM that creates guests, and the kernel's trace events."""
        try:
            root = host.as_root()
        except HarnessError as error:
            return [Check("agent", CheckStatus.MISSING, error.message, error.hint)]
        return [qemu_check(host, qemu), *kvm_checks(root)]

    def run(self, spec: RunSpec, directory: RunDirectory, progress: Progress) -> RunOutcome:
        """Run the guest to spec.until. Raises HarnessError if it could not be started."""
        return run_on(spec.host.traced(), self.name, spec, directory, progress)


def run_on(
    host: RemoteHost,
    platform: str,
    spec: RunSpec,
    directory: RunDirectory,
    progress: Progress,
    inputs: Mapping[str, Path] = NO_INPUTS,
) -> RunOutcome:
    """Run the guest on a host that is reached through its agent, under the platform's name. Raises HarnessError.

    inputs: files of this machine, by the names in the tokens of the extra arguments.
    """
    if spec.icount:
        raise UsageError("KVM cannot count instructions", "leave out --icount, or use the tcg or emulated platform")
    firmware = spec.image
    facts = host.kvm()
    missing = first_missing([_kvm_check(facts), trace_check(host)])
    if missing is not None:
        raise BrokenEnvironmentError(f"{host.name} cannot run this: {missing.name}: {missing.evidence}", missing.hint)
    binary = host.qemu(spec.qemu)
    image = rundir.ROM
    directory.write_input(image, firmware.flat())
    collector = Collector()
    with contextlib.ExitStack() as stack:
        witness = KvmWitness(collector, firmware, directory, memory=spec.memory)
        stack.callback(witness.close)
        witness.timeline.accelerated = facts.accelerated[:_NAME_MAX]
        arguments = [
            *machine_arguments(spec, cpu_argument(spec, CPU), accelerator="kvm"),
            *("-m", f"{spec.memory >> 20}", "-bios", token(FILE, image)),
            *witness.arguments,
            *spec.extra_args,
        ]
        devices = Devices(
            consoles={"serial": rundir.SERIAL},
            files=[image],
            inputs=inputs,
            stand_ins={token(FILE, name): str(path) for name, path in inputs.items()},
        )
        machine = host.machine(binary, arguments, directory, devices)
        with machine:
            try:
                witness.start(machine)
                version = ".".join(map(str, machine.qmp.version))
                session = Session(machine, spec, collector, progress, witness.step, lambda: witness.timeline.exits)
                ending = session.run()
            finally:
                witness.end()
        timeline = witness.finish(platform, ending)
    return RunOutcome(timeline, ending.error, ending.interrupt, f"{version}, {binary.name}")


def kvm_checks(host: Host) -> list[Check]:
    """Check the host's kernel for KVM and for its trace events."""
    try:
        return [_kvm_check(host.kvm()), trace_check(host)]
    except HarnessError as error:
        return [Check("KVM", CheckStatus.MISSING, error.message, error.hint)]


def trace_check(host: Host) -> Check:
    """Check the host's kernel for trace events. Raises HarnessError if the host cannot be reached."""
    return _trace_check(host.tracing(list(EVENTS)))


def _kvm_check(facts: KvmAnswer) -> Check:
    if facts.error:
        return Check("KVM", CheckStatus.MISSING, facts.error, facts.hint)
    modules = ", ".join(facts.modules)
    if facts.accelerated:
        return Check(
            "KVM",
            CheckStatus.WARN,
            f"runs a guest ({modules}), but the processor serves the APIC by itself ({facts.accelerated})",
            "accesses leave no trace event: load the module with that parameter off",
        )
    return Check("KVM", CheckStatus.OK, f"runs a guest ({modules})")


def _trace_check(facts: Tracing) -> Check:
    if facts.error:
        return Check("trace events", CheckStatus.MISSING, facts.error, facts.hint)
    needed = [name for name in facts.missing if name in REQUIRED_EVENTS]
    if needed:
        return Check(
            "trace events", CheckStatus.MISSING, f"the kernel has no {', '.join(needed)}", "use Linux 5.10 or newer"
        )
    lacking = f", without {', '.join(facts.missing)}" if facts.missing else ""
    return Check("trace events", CheckStatus.OK, f"{len(facts.events)} in {facts.root}{lacking}")


PLATFORM = KvmPlatform()
