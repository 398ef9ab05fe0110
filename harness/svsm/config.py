# SPDX-License-Identifier: GPL-2.0-or-later
"""The SVSM and hypervisor configuration of a run: the model of svsm_configs/*.toml, and how they are found and read."""

from __future__ import annotations

import enum
import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from harness.errors import UsageError
from harness.svsm.keys import keys
from harness.svsm.sev import HypervisorFeature, SevStatus, sev_status

#: The configuration of `snp-harness run` without --svsm-config.
DEFAULT_CONFIG = "alternate-injection"
#: Longest configuration file, bytes.
FILE_MAX = 1 << 16
#: Where the shipped configurations are: in an installed package, and in a checkout.
SHIPPED_DIRECTORIES = (
    Path(__file__).parent / "configs",
    Path(__file__).parents[2] / "svsm_configs",
)


class ConfigError(UsageError):
    """A configuration cannot be used; the message names the file, the key and the values it takes."""


#: Hypervisor features by the names that `hypervisor.features` takes.
FEATURE_NAMES: dict[str, HypervisorFeature] = {
    feature.name.lower().replace("_", "-"): feature for feature in HypervisorFeature if feature.name is not None
}
#: What KVM offers with the Alternate Injection series (bits 0-2, 4, 5, 9).
DEFAULT_FEATURES = (
    "snp",
    "ap-creation",
    "restricted-injection",
    "apic-id-list",
    "multi-vmpl",
    "alternate-injection",
)


class ApicServer(enum.Enum):
    """Which APIC answers the guest."""

    VIRTUAL = "virtual"
    QEMU = "qemu"


def _known_feature(name: str) -> str:
    if name not in FEATURE_NAMES:
        raise ValueError("not a hypervisor feature")
    return name


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class SvsmSection(_Section):
    """The SVSM and what the guest below it gets."""

    present: bool = Field(default=True, description="An SVSM runs at VMPL0, the tested firmware below it.")
    kind: Literal["reference"] = Field(
        default="reference", description="Which SVSM: `reference` is the one that comes with the harness."
    )
    alternate_injection: bool = Field(
        default=True,
        description="Alternate Injection is active for the tested firmware (SEV_STATUS bit 6); needs an SVSM.",
    )
    vmpl: int = Field(
        default=2, ge=1, le=3, description="VMPL of the tested firmware under an SVSM; without one it is 0."
    )


class HypervisorSection(_Section):
    """The hypervisor as the guest sees it."""

    apic: ApicServer = Field(
        default=ApicServer.VIRTUAL,
        strict=False,
        description="`virtual`: the emulated host's local APIC, with KVM's rules. `qemu`: QEMU's own APIC answers, so"
        " that QEMU's trace events are a second witness.",
    )
    features: tuple[Annotated[str, AfterValidator(_known_feature)], ...] = Field(
        default=DEFAULT_FEATURES,
        strict=False,
        max_length=len(FEATURE_NAMES),
        description="GHCB hypervisor features.",
        json_schema_extra={"allowed": f"a list of {', '.join(FEATURE_NAMES)}"},
    )


class ExitsSection(_Section):
    """Which exits become #VC in the guest. CPUID, APIC_BASE, x2APIC MSRs and the APIC page always do."""

    ioio: bool = Field(default=True, description="Port I/O.")
    mmio: bool = Field(default=True, description="MMIO of every device, not of the APIC page only.")
    msr: bool = Field(default=True, description="Every MSR that KVM intercepts for an SEV-ES guest.")
    rdtsc: bool = Field(default=False, description="RDTSC; KVM does not intercept it.")
    rdtscp: bool = Field(default=False, description="RDTSCP; KVM does not intercept it.")
    dr7: bool = Field(default=True, description="Accesses to DR7.")
    wbinvd: bool = Field(default=True, description="WBINVD and INVD.")
    monitor: bool = Field(default=True, description="MONITOR and MWAIT.")
    rdpmc: bool = Field(default=True, description="RDPMC.")


class MemorySection(_Section):
    """Guest memory and its encryption bit."""

    cbit: Literal[47, 51] = Field(default=51, description="Position of the C-bit; 51 is hardware's.")
    phys_bits: int = Field(
        default=40, ge=36, le=46, description="Guest physical address bits (CPUID 80000008 EAX 7:0), below the C-bit."
    )
    strict: bool = Field(
        default=True, description="RMP violations are delivered as on hardware; otherwise recorded and let through."
    )


class LogSection(_Section):
    """The emulated host's log."""

    level: int = Field(
        default=1,
        ge=0,
        le=2,
        description="0: APIC accesses, modules, violations, the end. 1: and GHCB, SVSM and RMP events."
        " 2: and every #VC, port and MMIO access.",
    )


class GuestSection(_Section):
    """The guest itself."""

    sev: bool = Field(default=True, description="An SEV-SNP guest; otherwise a plain guest on the same virtual APIC.")


class SvsmConfig(_Section):
    """One file of svsm_configs/. Every key has a default: an empty file is the default configuration."""

    svsm: SvsmSection = SvsmSection()
    hypervisor: HypervisorSection = HypervisorSection()
    exits: ExitsSection = ExitsSection()
    memory: MemorySection = MemorySection()
    log: LogSection = LogSection()
    guest: GuestSection = GuestSection()

    @model_validator(mode="after")
    def _fits_together(self) -> SvsmConfig:
        if self.svsm.present and not self.guest.sev:
            raise ValueError("svsm.present = true needs guest.sev = true")
        if self.svsm.alternate_injection and not self.svsm.present:
            raise ValueError("svsm.alternate_injection = true needs svsm.present = true")
        for name, wanted in (("multi-vmpl", self.svsm.present), ("alternate-injection", self.alternate_injection)):
            if wanted and name not in self.hypervisor.features:
                key = "present" if name == "multi-vmpl" else "alternate_injection"
                raise ValueError(f'svsm.{key} = true needs "{name}" in hypervisor.features')
        if self.guest.sev and "snp" not in self.hypervisor.features:
            raise ValueError('guest.sev = true needs "snp" in hypervisor.features')
        return self

    @property
    def present(self) -> bool:
        """An SVSM runs at VMPL0."""
        return self.svsm.present

    @property
    def alternate_injection(self) -> bool:
        """Alternate Injection is active for the tested firmware."""
        return self.svsm.alternate_injection

    @property
    def guest_vmpl(self) -> int:
        """VMPL of the tested firmware."""
        return self.svsm.vmpl if self.svsm.present else 0

    @property
    def feature_bits(self) -> HypervisorFeature:
        """The hypervisor features as the GHCB's bits; none for a plain guest."""
        bits = HypervisorFeature(0)
        if self.guest.sev:
            for name in self.hypervisor.features:
                bits |= FEATURE_NAMES[name]
        return bits

    def sev_status(self, vmpl: int) -> SevStatus:
        """MSR SEV_STATUS as a VMPL (0-3) reads it; 0 for a plain guest. Raises ValueError for another VMPL."""
        status = sev_status(vmpl, self.guest_vmpl, alternate_injection=self.alternate_injection)
        return status if self.guest.sev else SevStatus(0)


def shipped_configs() -> dict[str, Path]:
    """Return the configurations that come with the harness, by name."""
    for directory in SHIPPED_DIRECTORIES:
        found = {path.stem: path for path in sorted(directory.glob("*.toml"))}
        if found:
            return found
    return {}


def find_config(spec: str | Path) -> Path:
    """Return the file that a name or a path stands for. Raises ConfigError.

    A bare name, without a slash or a suffix, is one of the shipped configurations.
    """
    if isinstance(spec, str) and "/" not in spec and not spec.endswith(".toml"):
        shipped = shipped_configs()
        if spec in shipped:
            return shipped[spec]
        names = ", ".join(shipped) or "none, the installation is broken"
        raise ConfigError(f"no configuration is named {spec!a}", f"give a TOML file's path, or one of: {names}")
    return Path(spec)


def load_config(spec: str | Path = DEFAULT_CONFIG) -> SvsmConfig:
    """Return the configuration of a shipped name or a file. Raises ConfigError in one line."""
    path = find_config(spec)
    try:
        with path.open("rb") as stream:
            data = stream.read(FILE_MAX + 1)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}", "give a TOML file as in svsm_configs/") from None
    if len(data) > FILE_MAX:
        raise ConfigError(f"{path} is larger than {FILE_MAX} bytes", "give a TOML file as in svsm_configs/")
    return parse_config(data, str(path))


def parse_config(data: bytes, name: str) -> SvsmConfig:
    """Return the configuration in a TOML file's bytes. name: the file's, for messages. Raises ConfigError."""
    try:
        values = tomllib.loads(data.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        raise ConfigError(f"{name} is not TOML: {_one_line(str(error))}") from None
    try:
        return SvsmConfig.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{name}: {_explain(error)}") from None


def _explain(error: ValidationError) -> str:
    """The first problem in one line: key, value, and what the key takes."""
    problem = error.errors(include_url=False)[0]
    path = [str(part) for part in problem["loc"] if not isinstance(part, int)]
    if not path:
        return problem["msg"].removeprefix("Value error, ")
    key = _one_line(".".join(path))
    section = [entry for entry in keys(SvsmConfig) if entry.section == path[0]]
    if problem["type"] == "extra_forbidden":
        if path[1:]:
            return f"unknown key {key}: [{path[0]}] takes {', '.join(entry.name for entry in section)}"
        return f"unknown section {key}: a file takes {', '.join(f'[{name}]' for name in SvsmConfig.model_fields)}"
    if not path[1:]:
        return f"{key} is a section: write [{key}] and its keys {', '.join(entry.name for entry in section)} below it"
    allowed = next(entry.allowed for entry in section if entry.name == path[1])
    return f"{key} = {_one_line(repr(problem['input']))}: expected {allowed}"


def _one_line(text: str) -> str:
    escaped = ascii(" ".join(text.split()))[1:-1]
    return escaped if len(escaped) <= 120 else escaped[:117] + "..."
