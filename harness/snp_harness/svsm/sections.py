# SPDX-License-Identifier: GPL-2.0-or-later
"""The sections of an SVSM configuration but for the faults: keys, with their bounds, defaults and meaning."""

from __future__ import annotations

import enum
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from snp_harness.svsm.keys import ALLOWED
from snp_harness.svsm.sev import HypervisorFeature

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
#: Features of the virtual APIC, by their names in `guest.hidden_features`.
HIDDEN_NAMES = ("x2apic", "tsc-deadline")
_Feature = Annotated[str, Meta(pattern=rf"^(?:{'|'.join(FEATURE_NAMES)})\Z")]
_Hidden = Annotated[str, Meta(pattern=rf"^(?:{'|'.join(HIDDEN_NAMES)})\Z")]


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


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A part of a configuration. Meta's description of a key is shown in docs/svsm-configs.md."""


class SvsmSection(Section, frozen=True):
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


class HypervisorSection(Section, frozen=True):
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


class ExitsSection(Section, frozen=True):
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


class MemorySection(Section, frozen=True):
    """Guest memory and its encryption bit."""

    cbit: Annotated[Literal[47, 51], Meta(description="Position of the C-bit; 51 is hardware's.")] = 51
    phys_bits: Annotated[
        int,
        Meta(ge=36, le=46, description="Guest physical address bits (CPUID 80000008 EAX 7:0), below the C-bit."),
    ] = 40
    strict: Annotated[
        bool, Meta(description="RMP violations are delivered as on hardware; otherwise recorded and let through.")
    ] = True


class LogSection(Section, frozen=True):
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


class GuestSection(Section, frozen=True):
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
