# SPDX-License-Identifier: GPL-2.0-or-later
"""SEV-SNP hardware: the firmware as an SNP guest of KVM, under an SVSM in an IGVM file, or without one."""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from snp_harness.apic.event_kinds import GUEST_IMAGE
from snp_harness.check import Check, CheckStatus, first_missing
from snp_harness.errors import BrokenEnvironmentError, HarnessError, LackingHostError, UsageError
from snp_harness.hosts.local import LOCAL
from snp_harness.launch.tokens import FILE, token
from snp_harness.platforms.platform import RunSpec
from snp_harness.platforms.snp_preflight import MEMORY_MIB
from snp_harness.platforms.svsm_console import SvsmWatch, note_lacking_features
from snp_harness.svsm.config_files import with_igvm as config_with_igvm
from snp_harness.svsm.sections import ApicServer, Policy, SvsmKind
from snp_harness.vm import rundir
from snp_harness.vm.machine_base import Devices

if TYPE_CHECKING:
    from snp_harness.hosts.host import Host
    from snp_harness.hosts.remote import RemoteHost
    from snp_harness.platforms.host_facts import HostFacts
    from snp_harness.platforms.running import Running
    from snp_harness.svsm.igvm import IgvmFile
    from snp_harness.vm.rundir import RunDirectory

#: Names COCONUT's IGVM file where the configuration names none.
IGVM_VARIABLE = "SNP_HARNESS_IGVM"
_IGVM_HINT = f'name COCONUT\'s IGVM file: svsm.kind = "igvm" and svsm.igvm in the configuration, or {IGVM_VARIABLE}'

_NO_INJECTION_HINT = (
    "use a host kernel and a QEMU with Alternate Injection, or a configuration with svsm.alternate_injection = false"
)


@dataclass(frozen=True, slots=True)
class GuestImage:
    """What QEMU starts from. is_igvm: an IGVM file, else a firmware image. notes: differences from the original.

    svsm_port: I/O port of the SVSM's console. features: SEV_FEATURES that its VMSAs need.
    """

    data: bytes
    is_igvm: bool
    svsm_port: int = 0
    features: int = 0
    notes: tuple[str, ...] = ()


class SnpPlatform:
    """Runs the firmware on SEV-SNP hardware; docs/snp.md lists what cannot be observed there."""

    name = "snp"
    observed_on = "SEV-SNP hardware"
    configurable = True
    alternate_injection = True

    def probe(self, host: Host = LOCAL, qemu: Path | None = None) -> list[Check]:
        """Check processor, KVM, security processor and QEMU (see snp_preflight.py), and KVM's trace events."""
        try:
            root = host.as_root()
        except HarnessError as error:
            return [Check("agent", CheckStatus.MISSING, error.message, error.hint)]
        return probe_checks(root, facts_of(root, qemu))

    def start(self, spec: RunSpec, directory: RunDirectory, stack: ExitStack) -> Running:
        """Start the guest. Raises HarnessError if it could not be started."""
        host = spec.host.traced()
        spec = with_igvm(spec, host.igvm)
        check_fits(spec)
        facts = facts_of(host, spec.qemu)
        missing = first_missing(probe_checks(host, facts))
        if missing is not None:
            what = f"{host.name} cannot run this: {missing.name}: {missing.evidence}"
            raise BrokenEnvironmentError(what, missing.hint)
        return _start(host, facts, spec, directory, stack)


def probe_checks(host: Host, facts: HostFacts) -> list[Check]:
    """Return the checks of a host with these facts, and of its tracefs."""
    from snp_harness.platforms.kvm import trace_check
    from snp_harness.platforms.snp_preflight import checks

    return [*checks(facts), trace_check(host)]


def _start(host: RemoteHost, facts: HostFacts, spec: RunSpec, directory: RunDirectory, stack: ExitStack) -> Running:
    """Start the guest on a host that passed the checks."""
    from snp_harness.capture.collect import Collector
    from snp_harness.platforms.kvm import KvmGuest
    from snp_harness.platforms.kvm_witness import KvmWitness
    from snp_harness.platforms.snp_command import snp_arguments

    config = spec.svsm
    image = guest_image(spec)
    check_features(facts, image.features)
    name = rundir.IGVM if image.is_igvm else rundir.ROM
    path = token(FILE, name)
    directory.write_input(name, image.data)
    binary = host.qemu(spec.qemu)
    collector = Collector()
    witness = KvmWitness(collector, None, directory, svsm=config.present)
    stack.callback(witness.close)
    arguments = snp_arguments(
        facts,
        memory=(spec.memory_mib or MEMORY_MIB) << 20,
        vcpus=spec.vcpus,
        igvm=path if image.is_igvm else None,
        bios=None if image.is_igvm else path,
        guest_vmpl=config.guest_vmpl,
        extra=spec.extra_args,
    )
    devices = Devices(consoles={"serial": rundir.SERIAL, "svsm": rundir.SVSM}, files=[name])
    machine = stack.enter_context(host.machine(binary, [*arguments, *witness.arguments], directory, devices))
    stack.callback(witness.end)
    if image.notes:
        text = f"a copy of {config.svsm.igvm} was launched: {'; '.join(image.notes)}"
        collector.event(GUEST_IMAGE, None, None, text)
    watch = SvsmWatch(_NO_INJECTION_HINT)
    if config.present:
        # COCONUT prints on COM1, which the firmware uses too, unless its IGVM file names another port.
        for console in machine.consoles.values():
            watch.watch(console)
            note_lacking_features(console, collector)
    witness.start(machine)
    return KvmGuest(
        SnpPlatform.name, machine, collector, witness, alternate_injection=config.alternate_injection, svsm=watch
    )


def facts_of(host: Host, qemu: Path | None) -> HostFacts:
    """Return the facts about the host and one of its QEMUs. Raises HarnessError."""
    from snp_harness.platforms.host_facts import host_facts

    return host_facts(host.probe(qemu))


def with_igvm(spec: RunSpec, of_host: Path | None) -> RunSpec:
    """Return the run with the host's IGVM file, or IGVM_VARIABLE's, if the configuration names none for the SVSM."""
    named = of_host or os.environ.get(IGVM_VARIABLE)
    section = spec.svsm.svsm
    if not named or not section.present or section.kind is SvsmKind.IGVM:
        return spec
    return replace(spec, svsm=config_with_igvm(spec.svsm, Path(named)))


def check_fits(spec: RunSpec) -> None:
    """Check, before anything is started, that the platform supports the run. Raises UsageError."""
    config = spec.svsm
    if not config.snp:
        raise UsageError(
            "the platform snp runs no guest without SEV-SNP", "use --platform kvm, or leave guest.sev = true"
        )
    if spec.icount:
        raise UsageError("instructions cannot be counted on hardware", "leave out --icount")
    if config.faults.inject:
        raise UsageError("faults can be injected on the emulated platform only", "leave out faults.inject")
    if config.hypervisor.policy is not Policy.KVM or config.hypervisor.apic is not ApicServer.VIRTUAL:
        raise UsageError("hypervisor.policy and hypervisor.apic configure the emulated platform only", "leave them out")
    if not config.present:
        return
    if config.svsm.kind is not SvsmKind.IGVM:
        raise UsageError("the reference SVSM runs on the emulated platform only", _IGVM_HINT)


def guest_image(spec: RunSpec) -> GuestImage:
    """Return the image that QEMU starts, changed as the configuration requests. Raises UsageError.

    With an SVSM: a copy of the IGVM file that holds spec's firmware, and requests Alternate Injection if the
    configuration does. Without: the firmware.
    """
    firmware = spec.image
    if not spec.svsm.present:
        if firmware.metadata is None:
            raise UsageError(
                f"firmware {firmware.path} has no SEV metadata: it cannot be launched as an SEV-SNP guest",
                "use an OVMF with SEV support",
            )
        return GuestImage(firmware.flat(), is_igvm=False)
    from snp_harness.svsm.igvm import IgvmFile
    from snp_harness.svsm.igvm_firmware import replace_firmware
    from snp_harness.svsm.igvm_inject import drop_id_blocks, inject, settings_of

    notes: list[str] = []
    file = IgvmFile.open(Path(spec.svsm.svsm.igvm))
    replaced = replace_firmware(file, firmware.flat(), str(firmware.path))
    file = IgvmFile.parse(replaced.data, file.name)
    injected = inject(file, alternate_injection=spec.svsm.alternate_injection)
    file = IgvmFile.parse(injected.data, file.name)
    changed = [*replaced.changes, *injected.changes]
    if changed:
        notes += [change for change in changed if not change.startswith(("launch digest", "checksum"))]
        # The signature of the original would be refused, since the copy has another digest; nothing here attests.
        dropped = drop_id_blocks(file)
        file = IgvmFile.parse(dropped.data, file.name)
        notes += [change for change in dropped.changes if not change.startswith("checksum")]
    assert file.snp_mask is not None
    port = settings_of(file, file.snp_mask).block.port
    return GuestImage(file.data, is_igvm=True, svsm_port=port, features=_features(file), notes=tuple(notes))


def _features(file: IgvmFile) -> int:
    """Return SEV_FEATURES of all VMSAs, without SNP itself, which KVM sets."""
    from snp_harness.svsm import vmsa
    from snp_harness.svsm.igvm import VpContext

    features = 0
    for header in file.headers:
        if isinstance(header, VpContext) and header.applies(file.snp_mask or 0) and header.offset:
            features |= vmsa.Vmsa(file.contents(header)).features
    return features & ~vmsa.FEATURE_BITS["snp"]


def check_features(facts: HostFacts, features: int) -> None:
    """Raise LackingHostError if KVM reports that it lacks a feature of the VMSA: KVM would refuse the guest."""
    from snp_harness.svsm.vmsa import feature_names

    has = facts.kvm.vmsa_features
    if has is not None and features & ~has:
        names = ", ".join(feature_names(features & ~has))
        raise LackingHostError(
            f"the IGVM file's VMSA needs {names}, which the host's KVM does not have",
            "use a kernel with it, or an IGVM file built without it",
        )


PLATFORM = SnpPlatform()
