# SPDX-License-Identifier: GPL-2.0-or-later
"""SEV-SNP hardware: the firmware as an SNP guest of KVM, under an SVSM in an IGVM file, or without one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.check import Check, first_missing
from harness.errors import BrokenEnvironmentError, UsageError
from harness.firmware.image import FirmwareImage
from harness.platforms.base import Progress, RunOutcome, RunSpec
from harness.svsm.config import SvsmKind

if TYPE_CHECKING:
    from harness.hosts.base import Host
    from harness.platforms.host_facts import HostFacts
    from harness.vm.rundir import RunDirectory

_IGVM_HINT = 'give a configuration with svsm.kind = "igvm" and the path of COCONUT\'s IGVM file (docs/snp.md)'


@dataclass(frozen=True, slots=True)
class GuestImage:
    """What QEMU starts from. is_igvm: an IGVM file, else a firmware image. notes: what is different from the original.

    svsm_port: I/O port of the SVSM's console.
    """

    data: bytes
    is_igvm: bool
    svsm_port: int = 0
    notes: tuple[str, ...] = ()


class SnpPlatform:
    """Real hardware: what it shows is a result about SEV-SNP. See docs/snp.md for what cannot be seen."""

    name = "snp"

    def probe(self, host: Host | None = None, qemu: Path | None = None) -> list[Check]:
        """Processor, KVM, security processor, QEMU: see harness/platforms/snp_preflight.py."""
        from harness.platforms.snp_preflight import checks

        return checks(facts_of(host, qemu))

    def run(self, spec: RunSpec, directory: RunDirectory, progress: Progress) -> RunOutcome:
        """See Platform.run."""
        check_fits(spec)
        missing = first_missing(self.probe(spec.host, spec.qemu))
        if missing is not None:
            raise BrokenEnvironmentError(
                f"platform snp cannot run here: {missing.name}: {missing.evidence}", missing.hint
            )
        raise BrokenEnvironmentError("runs on SEV-SNP hardware are being built", "use --platform emulated")


def facts_of(host: Host | None, qemu: Path | None) -> HostFacts:
    """Of a host, or of this machine. Raises HarnessError."""
    from harness.hosts.local import LOCAL
    from harness.platforms.host_facts import host_facts

    return host_facts((host or LOCAL).probe(qemu))


def check_fits(spec: RunSpec) -> None:
    """Refuse before anything is started what cannot run. Raises UsageError."""
    config = spec.svsm
    if not config.guest.sev:
        raise UsageError("a guest without SEV is none of platform snp", "use --platform kvm, or leave guest.sev = true")
    if spec.icount:
        raise UsageError("instructions cannot be counted on hardware", "leave out --icount")
    if config.faults.inject:
        raise UsageError("faults can be injected on the emulated platform only", "leave out faults.inject")
    if not config.present:
        return
    if config.svsm.kind is not SvsmKind.IGVM:
        raise UsageError("the reference SVSM runs on the emulated platform only", _IGVM_HINT)


def guest_image(spec: RunSpec) -> GuestImage:
    """What QEMU is to start from, with all that the configuration asks for. Raises UsageError.

    With an SVSM: a copy of the IGVM file that holds spec's firmware, and asks for Alternate Injection if the
    configuration does. Without: the firmware.
    """
    firmware = FirmwareImage.open(spec.firmware)
    if not spec.svsm.present:
        if firmware.metadata is None:
            raise UsageError(
                f"firmware {spec.firmware} has no SEV metadata: it cannot be launched as an SEV-SNP guest",
                "use an OVMF with SEV support",
            )
        return GuestImage(firmware.flat(), is_igvm=False)
    from harness.svsm.igvm import IgvmFile
    from harness.svsm.igvm_firmware import replace_firmware
    from harness.svsm.igvm_inject import drop_id_blocks, inject, parameter_block

    notes: list[str] = []
    file = IgvmFile.open(Path(spec.svsm.svsm.igvm))
    replaced = replace_firmware(file, firmware.flat(), str(spec.firmware))
    file = IgvmFile.parse(replaced.data, file.name)
    injected = inject(file, alternate_injection=spec.svsm.alternate_injection)
    file = IgvmFile.parse(injected.data, file.name)
    changed = [*replaced.changes, *injected.changes]
    if changed:
        notes += [change for change in changed if not change.startswith(("launch digest", "checksum"))]
        # A copy of another digest than the signed one would be refused, and nothing here attests.
        dropped = drop_id_blocks(file)
        file = IgvmFile.parse(dropped.data, file.name)
        notes += [change for change in dropped.changes if not change.startswith("checksum")]
    assert file.snp_mask is not None
    port = parameter_block(file, file.snp_mask).port
    return GuestImage(file.data, is_igvm=True, svsm_port=port, notes=tuple(notes))


PLATFORM = SnpPlatform()
