# SPDX-License-Identifier: GPL-2.0-or-later
"""Linux KVM: the firmware as a plain guest, its APIC in the kernel, seen through the kernel's trace events."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from snp_harness.capture.collect import Collector
from snp_harness.capture.kvm_trace import EVENTS, REQUIRED_EVENTS
from snp_harness.check import Check, CheckStatus, first_missing
from snp_harness.errors import BrokenEnvironmentError, HarnessError, UnsupportedError, UsageError
from snp_harness.hosts.local import LOCAL
from snp_harness.launch.tokens import FILE, token
from snp_harness.platforms.common import cpu_argument, machine_arguments, qemu_check
from snp_harness.platforms.kvm_witness import KvmWitness
from snp_harness.platforms.plain_guest import locate_plain, plain_registers
from snp_harness.platforms.platform import RunOutcome, RunSpec
from snp_harness.platforms.running import Peek, Running
from snp_harness.platforms.session import Ending
from snp_harness.vm import rundir
from snp_harness.vm.machine_base import Devices
from snp_harness.vm.rundir import RunDirectory

if TYPE_CHECKING:
    from snp_harness.apic.timeline import Timeline
    from snp_harness.hosts.answers import KvmAnswer, Tracing
    from snp_harness.hosts.host import Host
    from snp_harness.hosts.remote import RemoteHost
    from snp_harness.hosts.remote_machine import RemoteMachine
    from snp_harness.platforms.saved import Saved
    from snp_harness.platforms.svsm_console import SvsmWatch

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

    def start(self, spec: RunSpec, directory: RunDirectory, stack: contextlib.ExitStack) -> Running:
        """Start the guest. Raises HarnessError if it could not be started."""
        return start_on(spec.host.traced(), self.name, spec, directory, stack)


def start_on(
    host: RemoteHost,
    platform: str,
    spec: RunSpec,
    directory: RunDirectory,
    stack: contextlib.ExitStack,
    inputs: Mapping[str, Path] = NO_INPUTS,
) -> KvmGuest:
    """Start the guest on a host that is reached through its agent, under the platform's name. Raises HarnessError.

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
    machine = stack.enter_context(host.machine(binary, arguments, directory, devices))
    stack.callback(witness.end)
    witness.start(machine)
    return KvmGuest(platform, machine, collector, witness, ram=spec.memory, rom=len(firmware.flat()))


class KvmGuest(Running):
    """A guest of KVM.

    alternate_injection: of the run's configuration. svsm: notices an SVSM that stops, None without one.
    ram, rom: bytes of both; 0 for an encrypted guest. facts: returns those of its outcome.
    """

    def __init__(
        self,
        platform: str,
        machine: RemoteMachine,
        collector: Collector,
        witness: KvmWitness,
        *,
        alternate_injection: bool = False,
        svsm: SvsmWatch | None = None,
        ram: int = 0,
        rom: int = 0,
    ) -> None:
        self.platform = platform
        self.machine = machine
        self.collector = collector
        self._witness = witness
        self.facts: Callable[[], Mapping[str, object]] = dict
        self._alternate_injection = alternate_injection
        self._svsm = svsm
        self._ram, self._rom = ram, rom

    def step(self) -> float:
        """Read the witnesses, as Running.step."""
        return self._witness.step()

    def exits(self) -> int | None:
        """Return the #VMEXITs so far."""
        return self._witness.timeline.exits

    def ended(self) -> Ending | None:
        """Return the end that a witness has seen."""
        if self._svsm is None:
            return None
        if self.machine.ended:
            # What the guest printed before is there, and perhaps not read yet.
            self.machine.loop.turn(0)
        error = self._svsm.error
        return None if error is None else Ending(error.message, error)

    def timeline(self, ending: Ending) -> Timeline:
        """Return what was seen so far."""
        return self._witness.seen(self.platform, ending, alternate_injection=self._alternate_injection)

    def locate(self, peek: Peek, gpas: Sequence[int], vmpl: int | None, *, write: bool) -> list[int]:
        """Return the address of each GPA, which is the same; that of an encrypted guest is not known."""
        if not self._ram:
            return super().locate(peek, gpas, vmpl, write=write)
        return [locate_plain(self.platform, gpa, self._ram, self._rom, vmpl, write=write) for gpa in gpas]

    def registers(self, peek: Peek, printed: str, vcpu: int, vmpl: int | None) -> dict[str, int]:
        """Return the registers of a vCPU, which QEMU has; those of an encrypted guest are not known."""
        if not self._ram:
            return super().registers(peek, printed, vcpu, vmpl)
        return plain_registers(self.platform, printed, vcpu, vmpl)

    def save(self, path: Path) -> Saved:
        """Refuse, as that of every guest of KVM: the kernel's events show no APIC that was set to a saved state."""
        if not self._ram:
            return super().save(path)
        raise UnsupportedError(self.platform, "take a snapshot", "KVM's trace events begin with a new guest")

    def finish(self, ending: Ending) -> RunOutcome:
        """Stop QEMU, read the rest, and return the outcome."""
        version = ".".join(map(str, self.machine.qmp.version))
        self._witness.end()
        self.machine.stop()
        timeline = self._witness.finish(self.platform, ending, alternate_injection=self._alternate_injection)
        qemu = f"{version}, {self.machine.binary.name}"
        return RunOutcome(timeline, ending.error, ending.interrupt, qemu, facts=self.facts())


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
