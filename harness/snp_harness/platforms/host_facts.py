# SPDX-License-Identifier: GPL-2.0-or-later
"""The facts about a host that snp_harness/agent/probe.py reports, checked, because they come from another machine."""

from __future__ import annotations

from typing import Any

import msgspec

from snp_harness.errors import BrokenEnvironmentError
from snp_harness.hosts.answers import shown
from snp_harness.vm.qemu_errors import printable


class _Facts(msgspec.Struct, frozen=True):
    """Base of all facts; fields that a newer agent adds are ignored."""


class CpuidLeaf(_Facts, frozen=True):
    """Registers of a CPUID leaf."""

    eax: int
    ebx: int
    ecx: int
    edx: int


class CpuFacts(_Facts, frozen=True):
    """The processor. sev_leaf: CPUID 8000001F."""

    vendor: str | None = None
    model: str | None = None
    sev_leaf: CpuidLeaf | None = None
    sev_leaf_error: str = ""

    @property
    def snp(self) -> bool:
        """Whether it has SEV-SNP (CPUID 8000001F EAX bit 4)."""
        return self.sev_leaf is not None and bool(self.sev_leaf.eax >> 4 & 1)

    @property
    def cbit(self) -> int | None:
        """Return the position of the C-bit (EBX 5:0)."""
        return None if self.sev_leaf is None else self.sev_leaf.ebx & 0x3F

    @property
    def vmpls(self) -> int | None:
        """Return the number of VMPLs (EBX 15:12)."""
        return None if self.sev_leaf is None else self.sev_leaf.ebx >> 12 & 0xF


class KvmFacts(_Facts, frozen=True):
    """/dev/kvm. created: "ok" or an error for each type of guest."""

    present: bool = False
    error: str | None = None
    api: int | None = None
    vm_types: int | None = None
    vmsa_features: int | None = None
    created: dict[str, str] = {}


class SevFacts(_Facts, frozen=True):
    """/dev/sev."""

    present: bool = False
    error: str | None = None
    api: str | None = None
    initialized: bool = False
    rmp: bool = False


class QemuFacts(_Facts, frozen=True):
    """A QEMU. objects: of -object help. snp_options, machine_options: of their ,help. help: words that -h mentions."""

    path: str | None = None
    version: str | None = None
    error: str | None = None
    objects: list[str] = []
    snp_options: list[str] = []
    machine_options: list[str] = []
    help: dict[str, bool] = {}
    cpu_models: list[str] = []

    @property
    def has_igvm(self) -> bool:
        """Whether it loads IGVM files."""
        return "igvm-cfg" in self.objects

    @property
    def has_planes(self) -> bool:
        """Whether it runs more than one VMPL (COCONUT's patches)."""
        return self.help.get("device-plane", False)


class MemoryFacts(_Facts, frozen=True):
    """KiB."""

    total_kb: int | None = None
    available_kb: int | None = None


class DiskFacts(_Facts, frozen=True):
    """Bytes."""

    path: str = ""
    free: int | None = None
    error: str | None = None


class HostFacts(_Facts, frozen=True):
    """All facts about a host."""

    version: int
    machine: str = ""
    kernel: str = ""
    python: str = ""
    uid: int = -1
    cpu: CpuFacts = CpuFacts()
    parameters: dict[str, str | None] = {}
    kvm: KvmFacts = KvmFacts()
    sev: SevFacts = SevFacts()
    qemu: QemuFacts = QemuFacts()
    memory: MemoryFacts = MemoryFacts()
    disk: DiskFacts = DiskFacts()


def host_facts(values: Any) -> HostFacts:
    """Check and return the facts that a probe reported. Raises BrokenEnvironmentError."""
    try:
        return msgspec.convert(shown(values), HostFacts)
    except (msgspec.ValidationError, ValueError) as error:
        raise BrokenEnvironmentError(
            f"the host's facts cannot be read: {printable(str(error), 200)}", "use the same harness there"
        ) from None
