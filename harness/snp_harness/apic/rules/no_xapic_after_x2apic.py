# SPDX-License-Identifier: GPL-2.0-or-later
"""Rule no-xapic-after-x2apic: a vCPU stays in x2APIC mode, and after that no vCPU uses the xAPIC page."""

from __future__ import annotations

from snp_harness.apic.access import Access, Operation, Outcome, Path, Server
from snp_harness.apic.apic_base import ApicMode, is_legal, mode_of
from snp_harness.apic.rules import observation
from snp_harness.apic.timeline import Timeline
from snp_harness.apic.verdict import RuleResult


class NoXapicAfterX2apic:
    """Once a vCPU is in x2APIC mode, it does not leave it, and no vCPU uses the xAPIC page, to the run's end.

    In x2APIC mode the xAPIC page does not reach the APIC (APM volume 2, section 16.11), and with Alternate Injection
    the mode must not be left: the SVSM serves MSRs only. An AP has to enter it before its own first access, which the
    SVSM would not serve either. The rule starts again with a reset of the vCPU.
    """

    name = "no-xapic-after-x2apic"
    specification = (
        "APM 16.11 (no MMIO in x2APIC mode), APM 16.9.1 (leaving x2APIC mode); Linux ends itself when it "
        "finds Alternate Injection outside x2APIC mode."
    )

    def check(self, timeline: Timeline) -> RuleResult:
        """Check each vCPU's accesses with the mode before each."""
        walk = _Walk()
        for access in timeline.accesses:
            walk.take(access)
        mmio = sum(not access.is_base for access in walk.offences)
        left = len(walk.offences) - mmio
        parts = [observation.accesses(mmio) + " by MMIO after x2APIC mode"] if mmio else []
        if left:
            parts.append(f"x2APIC mode was left {observation.plural(left, 'time')}")
        entered = observation.plural(len(walk.entered), "vCPU")
        return observation.conclude(
            self.name,
            violated="; ".join(parts),
            offences=walk.offences,
            doubts=(
                observation.run_not_seen(timeline),
                observation.unobserved(
                    walk.path_unknown,
                    f"MMIO or MSR: not observed for {observation.accesses(walk.path_unknown)} after x2APIC mode",
                ),
                observation.unobserved(
                    walk.mode_unknown,
                    f"order of {observation.accesses(walk.mode_unknown)} by MMIO and x2APIC mode was not observed",
                ),
            ),
            holds=f"{entered} in x2APIC mode to the end" if walk.entered else "no vCPU was in x2APIC mode",
        )


class _Walk:
    """The state at one access: modes of the vCPUs as far as known, the vCPUs in x2APIC mode, and those that left it.

    Accesses whose vCPU was not observed may be of several vCPUs: for them only the mode that each carries counts.
    """

    def __init__(self) -> None:
        self.modes: dict[int | None, ApicMode] = {}
        self.inside: set[int | None] = set()
        self.entered: set[int | None] = set()
        self.left: set[int | None] = set()
        self.offences: list[Access] = []
        self.path_unknown = 0
        self.mode_unknown = 0
        self._perhaps_inside = False

    def take(self, access: Access) -> None:
        vcpu = access.vcpu
        before = access.mode or (None if vcpu is None else self.modes.get(vcpu))
        if before is ApicMode.X2APIC:
            self._enter(vcpu)
        elif before is not None and vcpu is not None:
            # It is not in the mode and did not leave it: it was reset.
            self.inside.discard(vcpu)
        if access.is_base:
            before = self._base(access, before)
        elif access.path is Path.MMIO:
            if self.inside or vcpu in self.left:
                self.offences.append(access)
            elif before is None and self._perhaps_inside:
                self.mode_unknown += 1
        elif access.path is Path.UNKNOWN and (self.inside or self._perhaps_inside):
            self.path_unknown += 1
        if before is not None and vcpu is not None:
            self.modes[vcpu] = before

    def _base(self, access: Access, before: ApicMode | None) -> ApicMode | None:
        """Apply an access to APIC_BASE; return the mode after it."""
        if access.value is None or access.outcome not in (Outcome.OK, Outcome.NOT_OBSERVED):
            return before
        if access.served_by is Server.GUEST:
            return before  # the hypervisor was not asked
        after = mode_of(access.value)
        if access.operation is Operation.WRITE and access.outcome is Outcome.NOT_OBSERVED:
            if before is None:
                self._perhaps_inside |= after is ApicMode.X2APIC
                return after
            if not is_legal(before, after):
                return before  # the processor refuses it; legal-transition reports the attempt
        if access.operation is Operation.WRITE and before is ApicMode.X2APIC and after is not ApicMode.X2APIC:
            self.offences.append(access)
            self.inside.discard(access.vcpu)
            self.left.add(access.vcpu)
        if after is ApicMode.X2APIC:
            self._enter(access.vcpu)
        return after

    def _enter(self, vcpu: int | None) -> None:
        self.inside.add(vcpu)
        self.entered.add(vcpu)
        self.left.discard(vcpu)
