# SPDX-License-Identifier: GPL-2.0-or-later
"""The SVSM and hypervisor configuration of a run: the model of svsm_configs/*.toml."""

from __future__ import annotations

from collections.abc import Iterator

from snp_harness.svsm.faults import FAULT_NAMES, PROTOCOL_FAULT_NAMES, FaultsSection
from snp_harness.svsm.sections import (
    FEATURE_NAMES,
    ApicServer,
    ExitsSection,
    GuestSection,
    HypervisorSection,
    LogSection,
    MemorySection,
    Policy,
    Section,
    SvsmKind,
    SvsmSection,
    Timer,
)
from snp_harness.svsm.sev import HypervisorFeature, SevStatus, sev_status

#: The bits of SEV_STATUS that a guest of each kind can have.
_SEV_STATUS: dict[bool | str, SevStatus] = {
    False: SevStatus(0),
    "sev": SevStatus.SEV,
    "sev-es": SevStatus.SEV | SevStatus.SEV_ES,
    True: ~SevStatus(0),
}


class SvsmConfig(Section, frozen=True):
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
