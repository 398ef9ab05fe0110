# SPDX-License-Identifier: GPL-2.0-or-later
"""The SVSM and hypervisor configuration of a run: the model of svsm_configs/*.toml, and how they are found and read."""

from __future__ import annotations

import enum
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, structs

from snp_harness.data import data_file
from snp_harness.errors import UsageError
from snp_harness.svsm.keys import ALLOWED, HEXADECIMAL, Key, keys
from snp_harness.svsm.sev import HypervisorFeature, SevStatus, sev_status

#: The configuration of `snp-harness run` without --svsm-config.
DEFAULT_CONFIG = "alternate-injection"
#: Longest configuration file, bytes.
FILE_MAX = 1 << 16
#: Where the shipped configurations are.
SHIPPED_DIRECTORY = data_file("svsm_configs")


class ConfigError(UsageError):
    """A configuration cannot be used; the message names the file, the key and its valid values."""


#: Hypervisor features by their names in `hypervisor.features`.
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
    """The APIC that the guest reaches."""

    VIRTUAL = "virtual"
    QEMU = "qemu"


class SvsmKind(enum.Enum):
    """The SVSM that runs."""

    REFERENCE = "reference"
    IGVM = "igvm"


class Timer(enum.Enum):
    """The party that serves the guest's APIC timer under Alternate Injection."""

    HYPERVISOR_MSR = "hypervisor-msr"
    HV_TIMER = "hv-timer"
    SVSM = "svsm"


class Policy(enum.Enum):
    """When a vCPU's APIC in the hypervisor is in x2APIC mode."""

    KVM = "kvm"
    X2APIC_ON_ALTINJ = "x2apic-on-altinj"
    X2APIC_AT_RESET = "x2apic-at-reset"


#: Faults of the SVSM, by their names in `faults.inject`; the first five are of its APIC protocol.
PROTOCOL_FAULT_NAMES = ("busy", "incomplete", "wrong-result", "refused-register", "lost-protocol")
SVSM_FAULT_NAMES = (*PROTOCOL_FAULT_NAMES, "answered-call", "pending-call", "wrong-calling-area")
#: Faults of the hypervisor.
HYPERVISOR_FAULT_NAMES = (
    "lost-interrupt",
    "delayed-interrupt",
    "doorbell-storm",
    "wrong-nae",
    "lost-apic-base",
    "wrong-apic-base",
    "skipped-svsm",
    "refused-nae",
    "wrong-cpuid-id",
    "wrong-id-list",
)
FAULT_NAMES = (*SVSM_FAULT_NAMES, *HYPERVISOR_FAULT_NAMES)
#: Features of the virtual APIC, by their names in `guest.hidden_features`.
HIDDEN_NAMES = ("x2apic", "tsc-deadline")


#: The bits of SEV_STATUS that a guest of each kind can have.
_SEV_STATUS: dict[bool | str, SevStatus] = {
    False: SevStatus(0),
    "sev": SevStatus.SEV,
    "sev-es": SevStatus.SEV | SevStatus.SEV_ES,
    True: ~SevStatus(0),
}

_Feature = Annotated[str, Meta(pattern=rf"^(?:{'|'.join(FEATURE_NAMES)})\Z")]
#: The largest bound that msgspec takes.
_MAX = (1 << 63) - 1
_Fault = Annotated[str, Meta(pattern=rf"^(?:{'|'.join(FAULT_NAMES)})\Z")]
_Hidden = Annotated[str, Meta(pattern=rf"^(?:{'|'.join(HIDDEN_NAMES)})\Z")]


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A part of a configuration. Meta's description of a key is shown in docs/svsm-configs.md."""


class SvsmSection(_Section, frozen=True):
    """The SVSM, and what it offers to the guest below it."""

    present: Annotated[bool, Meta(description="An SVSM runs at VMPL0, the tested firmware below it.")] = True
    kind: Annotated[
        SvsmKind,
        Meta(
            description="Which SVSM: `reference` is the one that comes with the harness; `igvm` an IGVM file, such as"
            " COCONUT's."
        ),
    ] = SvsmKind.REFERENCE
    igvm: Annotated[
        str,
        Meta(
            max_length=4096,
            description="Path of the IGVM file, with `kind` igvm; relative to the configuration's directory.",
            extra={ALLOWED: "a path"},
        ),
    ] = ""
    alternate_injection: Annotated[
        bool,
        Meta(description="Alternate Injection is active for the tested firmware (SEV_STATUS bit 6); needs an SVSM."),
    ] = True
    vmpl: Annotated[
        int, Meta(ge=1, le=3, description="VMPL of the tested firmware under an SVSM; without one it is 0.")
    ] = 2
    apic_protocol: Annotated[
        bool, Meta(description="The SVSM offers the APIC protocol, if Alternate Injection is active.")
    ] = True
    feature_bit: Annotated[
        Literal[7, 9],
        Meta(description="GHCB hypervisor feature that the SVSM treats as Alternate Injection; older COCONUT: 7."),
    ] = 9
    in_ram: Annotated[
        bool,
        Meta(
            description="The reference SVSM's memory is at 128 MiB, inside guest RAM or directly behind it, as"
            " COCONUT's; otherwise far above guest RAM."
        ),
    ] = False
    scrub: Annotated[
        bool,
        Meta(description="The SVSM zeroes each page that the guest validates, as COCONUT does; about 2.4 s a GiB."),
    ] = False
    rmp_batches: Annotated[
        bool,
        Meta(
            description="The reference SVSM changes many pages in one exit, with an instruction that only the emulated"
            " host has; otherwise by PVALIDATE and RMPADJUST. The records of both are the same."
        ),
    ] = True
    self_test: Annotated[
        bool,
        Meta(description="The reference SVSM runs its own tests and no guest: `snp-harness svsm-test`."),
    ] = False


class HypervisorSection(_Section, frozen=True):
    """The hypervisor as the guest sees it."""

    apic: Annotated[
        ApicServer,
        Meta(
            description="`virtual`: the emulated host's local APIC, with KVM's rules. `qemu`: QEMU's own APIC answers,"
            " so that QEMU's trace events are a second witness."
        ),
    ] = ApicServer.VIRTUAL
    policy: Annotated[
        Policy,
        Meta(
            description="`kvm`: a vCPU is in x2APIC mode when it has written APIC_BASE. The others are two refused"
            " proposals, which break the APM's state diagram: x2APIC mode by itself when Alternate Injection begins,"
            " and from reset on."
        ),
    ] = Policy.KVM
    timer: Annotated[
        Timer,
        Meta(
            description="The APIC timer under Alternate Injection: by x2APIC MSRs through the GHCB; or these and the"
            " #HV timer event (feature `restricted-injection-timer`); or by the SVSM's APIC protocol."
        ),
    ] = Timer.HYPERVISOR_MSR
    features: Annotated[
        tuple[_Feature, ...],
        Meta(
            max_length=len(FEATURE_NAMES),
            description="GHCB hypervisor features.",
            extra={ALLOWED: f"a list of {', '.join(FEATURE_NAMES)}"},
        ),
    ] = DEFAULT_FEATURES


class FaultsSection(_Section, frozen=True):
    """Faults that are injected, to check that firmware and tests detect them."""

    inject: Annotated[
        tuple[_Fault, ...],
        Meta(
            max_length=len(FAULT_NAMES),
            description="Faults of the SVSM's APIC protocol (the first five), of the SVSM, and of the hypervisor (from"
            " `lost-interrupt` on); they need Alternate Injection, and are named in the report.",
            extra={ALLOWED: f"a list of {', '.join(FAULT_NAMES)}"},
        ),
    ] = ()
    every: Annotated[int, Meta(ge=1, le=1 << 31, description="1: at each occasion; n: at each n-th.")] = 1
    after: Annotated[int, Meta(ge=0, le=1 << 31, description="So many occasions pass without a fault first.")] = 0
    vcpu: Annotated[
        int,
        Meta(ge=-1, le=255, description="The only vCPU on which the hypervisor's faults occur; -1: all."),
    ] = -1
    register: Annotated[
        int,
        Meta(
            ge=0x800,
            le=0x8FF,
            description="The register of `refused-register` and `refused-nae`, by its x2APIC MSR.",
            extra={HEXADECIMAL: True},
        ),
    ] = 0x808
    result: Annotated[
        int,
        Meta(
            ge=0,
            le=_MAX,
            description="The result, RAX, of `wrong-result` and `answered-call`.",
            extra={HEXADECIMAL: True},
        ),
    ] = 0x80000002
    call: Annotated[
        int,
        Meta(
            ge=0,
            le=_MAX,
            description="RAX of the call that `answered-call` and `pending-call` are about.",
            extra={HEXADECIMAL: True},
        ),
    ] = 0x300000002
    calling_area: Annotated[
        int,
        Meta(ge=0, le=_MAX, description="Address of `wrong-calling-area`.", extra={HEXADECIMAL: True}),
    ] = 0x1000
    apic_base: Annotated[
        int,
        Meta(ge=0, le=_MAX, description="APIC_BASE of `wrong-apic-base`.", extra={HEXADECIMAL: True}),
    ] = 0xFEE00900
    apic_id: Annotated[
        int,
        Meta(
            ge=0,
            le=0xFFFFFFFF,
            description="APIC ID of `wrong-cpuid-id` and `wrong-id-list`.",
            extra={HEXADECIMAL: True},
        ),
    ] = 0
    exit_info1: Annotated[
        int,
        Meta(ge=0, le=_MAX, description="SW_EXITINFO1 of `refused-nae`.", extra={HEXADECIMAL: True}),
    ] = 1
    exit_info2: Annotated[
        int,
        Meta(ge=0, le=_MAX, description="SW_EXITINFO2 of `refused-nae`: a #GP.", extra={HEXADECIMAL: True}),
    ] = 0x80000B0D
    delay_us: Annotated[int, Meta(ge=1, le=600_000_000, description="Delay of `delayed-interrupt`, microseconds.")] = (
        20_000
    )


class ExitsSection(_Section, frozen=True):
    """Which exits become #VC in the guest. APIC_BASE, x2APIC MSRs and the APIC page always do."""

    ioio: Annotated[bool, Meta(description="Port I/O.")] = True
    mmio: Annotated[
        bool,
        Meta(
            description="MMIO of every device, not of the APIC page only. "
            "Without SEV-ES the hypervisor carries it out, as KVM does."
        ),
    ] = True
    msr: Annotated[bool, Meta(description="Every MSR that KVM intercepts for an SEV-ES guest.")] = True
    rdtsc: Annotated[bool, Meta(description="RDTSC; KVM does not intercept it.")] = False
    rdtscp: Annotated[bool, Meta(description="RDTSCP; KVM does not intercept it.")] = False
    dr7: Annotated[bool, Meta(description="Accesses to DR7.")] = True
    wbinvd: Annotated[bool, Meta(description="WBINVD and INVD.")] = True
    monitor: Annotated[bool, Meta(description="MONITOR and MWAIT.")] = True
    rdpmc: Annotated[bool, Meta(description="RDPMC.")] = True
    cpuid: Annotated[bool, Meta(description="CPUID.")] = True
    shortcuts: Annotated[
        bool,
        Meta(
            description="The emulated host saves exits on which nothing but time depends: it maps pages in groups,"
            " answers reads of the GHCB MSR and of SEV_STATUS at once, and makes a write of the GHCB MSR and the"
            " VMGEXIT behind it one. The records are the same."
        ),
    ] = True
    in_place: Annotated[
        bool,
        Meta(
            description="Reads of the GHCB MSR and of SEV_STATUS are answered inside QEMU, where it is 11.1 or newer, "
            "without an exit of the emulated host. The records are the same."
        ),
    ] = False


class MemorySection(_Section, frozen=True):
    """Guest memory and its encryption bit."""

    cbit: Annotated[Literal[47, 51], Meta(description="Position of the C-bit; 51 is hardware's.")] = 51
    phys_bits: Annotated[
        int,
        Meta(ge=36, le=46, description="Guest physical address bits (CPUID 80000008 EAX 7:0), below the C-bit."),
    ] = 40
    strict: Annotated[
        bool, Meta(description="RMP violations are delivered as on hardware; otherwise recorded and let through.")
    ] = True


class LogSection(_Section, frozen=True):
    """The emulated host's log."""

    level: Annotated[
        int,
        Meta(
            ge=0,
            le=3,
            description="0: APIC accesses, modules, violations, the end. 1: and GHCB, SVSM and RMP events."
            " 2: and every #VC, port and MMIO access. 3: and every #VMEXIT.",
        ),
    ] = 1


class GuestSection(_Section, frozen=True):
    """The guest itself."""

    sev: Annotated[
        bool | Literal["sev", "sev-es"],
        Meta(
            description="true: an SEV-SNP guest; false: a plain guest on the same virtual APIC; or one with SEV only,"
            " or SEV-ES.",
            extra={ALLOWED: 'true or false or "sev" or "sev-es"'},
        ),
    ] = True
    hidden_features: Annotated[
        tuple[_Hidden, ...],
        Meta(
            max_length=len(HIDDEN_NAMES),
            description="What the virtual APIC neither offers (CPUID leaf 1) nor accepts.",
            extra={ALLOWED: f"a list of {', '.join(HIDDEN_NAMES)}"},
        ),
    ] = ()


class SvsmConfig(_Section, frozen=True):
    """One file of svsm_configs/. Every key has a default: an empty file is the default configuration.

    Raises ValueError for values that contradict each other.
    """

    svsm: SvsmSection = SvsmSection()
    hypervisor: HypervisorSection = HypervisorSection()
    exits: ExitsSection = ExitsSection()
    memory: MemorySection = MemorySection()
    log: LogSection = LogSection()
    guest: GuestSection = GuestSection()
    faults: FaultsSection = FaultsSection()

    def __post_init__(self) -> None:
        for broken, message in (*self._combinations(), *self._under_alternate_injection()):
            if broken:
                raise ValueError(message)

    def _combinations(self) -> Iterator[tuple[bool, str]]:
        """Combinations of values, whether each is contradictory, and the message for it."""
        svsm, hypervisor = self.svsm, self.hypervisor
        virtual = hypervisor.apic is ApicServer.VIRTUAL
        yield svsm.present and not self.snp, "svsm.present = true needs guest.sev = true"
        for on, key in (
            (svsm.alternate_injection, "svsm.alternate_injection = true"),
            (svsm.kind is SvsmKind.IGVM, 'svsm.kind = "igvm"'),
        ):
            yield on and not svsm.present, f"{key} needs svsm.present = true"
        yield (svsm.kind is SvsmKind.IGVM) != bool(svsm.igvm), 'svsm.kind = "igvm" and svsm.igvm go together'
        yield (
            svsm.alternate_injection and not virtual,
            'svsm.alternate_injection = true needs hypervisor.apic = "virtual"',
        )
        yield (
            hypervisor.policy is not Policy.KVM and not virtual,
            f'hypervisor.policy = "{hypervisor.policy.value}" needs hypervisor.apic = "virtual"',
        )
        hidden = self.guest.hidden_features
        yield bool(hidden) and not virtual, 'guest.hidden_features needs hypervisor.apic = "virtual"'
        for on, key in (
            (svsm.alternate_injection, "svsm.alternate_injection = true"),
            (hypervisor.policy is not Policy.KVM, f'hypervisor.policy = "{hypervisor.policy.value}"'),
        ):
            yield on and "x2apic" in hidden, f'{key} and "x2apic" in guest.hidden_features contradict each other'
        for on, key, features in (
            (self.snp, "guest.sev = true", ("snp",)),
            (svsm.present, "svsm.present = true", ("multi-vmpl",)),
            (svsm.alternate_injection, "svsm.alternate_injection = true", ("restricted-injection",)),
            (hypervisor.timer is Timer.HV_TIMER, 'hypervisor.timer = "hv-timer"', ("restricted-injection-timer",)),
            (
                "restricted-injection-timer" in hypervisor.features,
                '"restricted-injection-timer"',
                ("snp", "ap-creation", "restricted-injection"),
            ),
        ):
            for feature in features:
                yield on and feature not in hypervisor.features, f'{key} needs "{feature}" in hypervisor.features'

    def _under_alternate_injection(self) -> Iterator[tuple[bool, str]]:
        """The settings that have no effect without Alternate Injection, or without the APIC protocol."""
        svsm, hypervisor = self.svsm, self.hypervisor
        for on, key, protocol in (
            (hypervisor.policy is Policy.X2APIC_ON_ALTINJ, 'hypervisor.policy = "x2apic-on-altinj"', False),
            (hypervisor.timer is Timer.HV_TIMER, 'hypervisor.timer = "hv-timer"', False),
            (hypervisor.timer is Timer.SVSM, 'hypervisor.timer = "svsm"', True),
            *((True, f'"{name}" in faults.inject', name in PROTOCOL_FAULT_NAMES) for name in self.faults.inject),
        ):
            yield on and not svsm.alternate_injection, f"{key} needs svsm.alternate_injection = true"
            yield on and protocol and not svsm.apic_protocol, f"{key} needs svsm.apic_protocol = true"

    @property
    def snp(self) -> bool:
        """The guest is an SEV-SNP guest."""
        return self.guest.sev is True

    @property
    def several_vcpus(self) -> bool:
        """The guest can have more than one vCPU."""
        return self.hypervisor.apic is not ApicServer.QEMU and self.guest.sev != "sev-es"

    @property
    def present(self) -> bool:
        """An SVSM runs at VMPL0."""
        return self.svsm.present

    @property
    def alternate_injection(self) -> bool:
        """Alternate Injection is active for the tested firmware."""
        return self.svsm.alternate_injection

    @property
    def apic_protocol(self) -> bool:
        """The SVSM offers the APIC protocol to the tested firmware."""
        return self.alternate_injection and self.svsm.apic_protocol

    @property
    def injected_faults(self) -> tuple[str, ...]:
        """The faults that are injected, each in words: "busy", or "busy (1 of 3)"."""
        every = self.faults.every
        suffix = "" if every == 1 else f" (1 of {every})"
        return tuple(name + suffix for name in sorted(set(self.faults.inject), key=FAULT_NAMES.index))

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
        return status & _SEV_STATUS[self.guest.sev]


def shipped_configs() -> dict[str, Path]:
    """Return the configurations that come with the harness, by name."""
    return {path.stem: path for path in sorted(SHIPPED_DIRECTORY.glob("*.toml"))}


def find_config(spec: str | Path) -> Path:
    """Return the file of a name or a path. Raises ConfigError.

    A bare name, without a slash or a suffix, is one of the shipped configurations.
    """
    if isinstance(spec, str) and "/" not in spec and not spec.endswith(".toml"):
        shipped = shipped_configs()
        if spec in shipped:
            return shipped[spec]
        from snp_harness.nearest import known_names

        hint = known_names(spec, shipped) if shipped else "there are none: the installation is broken"
        raise ConfigError(f"no configuration is named {spec!a}", f"{hint}, or name a TOML file")
    return Path(spec)


def load_config(spec: str | Path = DEFAULT_CONFIG) -> SvsmConfig:
    """Return the configuration of a shipped name or a file. Raises ConfigError in one line."""
    path = find_config(spec)
    try:
        with path.open("rb") as stream:
            data = stream.read(FILE_MAX + 1)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}", "use a TOML file as in svsm_configs/") from None
    if len(data) > FILE_MAX:
        raise ConfigError(f"{path} is larger than {FILE_MAX} bytes", "use a TOML file as in svsm_configs/")
    return _resolved(parse_config(data, str(path)), path.parent)


def _resolved(config: SvsmConfig, directory: Path) -> SvsmConfig:
    """The configuration with paths that are relative to its own directory made absolute."""
    if not config.svsm.igvm:
        return config
    igvm = str(directory.absolute() / config.svsm.igvm)
    return structs.replace(config, svsm=structs.replace(config.svsm, igvm=igvm))


def with_igvm(config: SvsmConfig, igvm: Path, *, alternate_injection: bool | None = None) -> SvsmConfig:
    """Return the configuration with an IGVM file's SVSM. alternate_injection: None to leave it as it is.

    Raises ConfigError for a configuration without an SVSM.
    """
    if not config.present:
        raise ConfigError(f"{igvm} has an SVSM, and the configuration has none", "leave out --igvm or --svsm-config")
    use = config.alternate_injection if alternate_injection is None else alternate_injection
    section = structs.replace(
        config.svsm, kind=SvsmKind.IGVM, igvm=str(igvm.expanduser().absolute()), alternate_injection=use
    )
    return structs.replace(config, svsm=section)


def parse_config(data: bytes, name: str) -> SvsmConfig:
    """Return the configuration in a TOML file's bytes. name: the file's, for messages. Raises ConfigError."""
    try:
        values = tomllib.loads(data.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        raise ConfigError(f"{name} is not TOML: {_one_line(str(error))}") from None
    try:
        return msgspec.convert(values, SvsmConfig)
    except msgspec.ValidationError as error:
        # If every key is valid by itself, the message is that of SvsmConfig's own check.
        raise ConfigError(f"{name}: {_explain(values) or error}") from None


def _explain(values: dict[str, Any]) -> str | None:
    """The first problem in one line: key, value and valid values; None if each key by itself is valid."""
    sections: dict[str, dict[str, Key]] = {}
    for entry in keys(SvsmConfig):
        sections.setdefault(entry.section, {})[entry.name] = entry
    for section, given in values.items():
        known = sections.get(section)
        if known is None:
            names = ", ".join(f"[{name}]" for name in sections)
            return f"unknown section {_one_line(section)}: {_did_you_mean(section, sections)}the sections are {names}"
        if not isinstance(given, dict):
            return f"{section} is a section: write [{section}] and its keys {', '.join(known)} below it"
        for name, value in given.items():
            if name not in known:
                near = _did_you_mean(name, known)
                return f"unknown key {section}.{_one_line(name)}: {near}the keys of [{section}] are {', '.join(known)}"
            if not _fits(value, known[name].type):
                return f"{section}.{name} = {_shown(value, known[name].type)}: expected {known[name].allowed}"
    return None


def _fits(value: object, kind: Any) -> bool:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return False
    return True


def _shown(value: object, kind: Any) -> str:
    """An invalid value as shown in a message; of a list, its first invalid element."""
    if isinstance(value, list):
        value = next((element for element in value if not _fits([element], kind)), value)
    try:
        return _one_line(repr(value))
    except ValueError:
        return "a huge number"  # more digits than Python writes (sys.set_int_max_str_digits)


def _did_you_mean(given: str, names: Iterable[str]) -> str:
    from snp_harness.nearest import nearest

    near = nearest(given, names)
    return f"did you mean {near}? " if near else ""


def _one_line(text: str) -> str:
    escaped = ascii(" ".join(text.split()))[1:-1]
    return escaped if len(escaped) <= 120 else escaped[:117] + "..."
