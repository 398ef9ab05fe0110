# SPDX-License-Identifier: GPL-2.0-or-later
"""Rule no-xapic-after-x2apic: a vCPU in x2APIC mode stays there and leaves the xAPIC page alone."""

from __future__ import annotations

from harness.apic.access import Access, Operation, Outcome, Path
from harness.apic.base import ApicMode, is_legal, mode_of
from harness.apic.rules import observation
from harness.apic.rules.observation import Doubt
from harness.apic.timeline import Timeline
from harness.apic.verdict import RuleResult


class NoXapicAfterX2apic:
    """Once a vCPU is in x2APIC mode, it neither touches the xAPIC page nor leaves the mode, operating system included.

    In x2APIC mode the xAPIC page is not the APIC's any more (APM volume 2, section 16.11), and with Alternate Injection
    there is no way back: the SVSM serves MSRs only. A reset of the vCPU starts anew.
    """

    name = "no-xapic-after-x2apic"
    title = "no xAPIC access after x2APIC mode"

    def check(self, timeline: Timeline) -> RuleResult:
        """Walk each vCPU's accesses with the mode before each."""
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
                Doubt(
                    f"MMIO or MSR: not observed for {observation.accesses(walk.path_unknown)} in x2APIC mode",
                    observable=False,
                )
                if walk.path_unknown
                else None,
                Doubt(
                    f"vCPU or mode of {observation.accesses(walk.mode_unknown)} by MMIO was not observed",
                    observable=False,
                )
                if walk.mode_unknown
                else None,
            ),
            holds=f"{entered} in x2APIC mode to the end" if walk.entered else "no vCPU was in x2APIC mode",
        )


class _Walk:
    """The state while walking: the mode of each vCPU as far as known, and who has left x2APIC mode."""

    def __init__(self) -> None:
        self.modes: dict[int | None, ApicMode] = {}
        self.entered: set[int | None] = set()
        self.left: set[int | None] = set()
        self.offences: list[Access] = []
        self.path_unknown = 0
        self.mode_unknown = 0

    def take(self, access: Access) -> None:
        vcpu = access.vcpu
        # Accesses of unnamed vCPUs may be those of several: only the mode they carry themselves counts.
        before = access.mode or (None if vcpu is None else self.modes.get(vcpu))
        if before is ApicMode.X2APIC:
            self.entered.add(vcpu)
            self.left.discard(vcpu)
        if access.is_base:
            before = self.base(access, before)
        elif access.path is Path.MMIO:
            if before is ApicMode.X2APIC or vcpu in self.left:
                self.offences.append(access)
            elif before is None and self.entered:
                self.mode_unknown += 1
        elif access.path is Path.UNKNOWN and before is ApicMode.X2APIC:
            self.path_unknown += 1
        if before is not None and vcpu is not None:
            self.modes[vcpu] = before

    def base(self, access: Access, before: ApicMode | None) -> ApicMode | None:
        """Take an access to APIC_BASE; return the mode after it."""
        if access.value is None or access.outcome not in (Outcome.OK, Outcome.NOT_OBSERVED):
            return before
        after = mode_of(access.value)
        if access.operation is Operation.READ:
            return after
        if before is not None and not is_legal(before, after) and access.outcome is Outcome.NOT_OBSERVED:
            return before  # the processor refuses it; legal-transition reports the attempt
        if before is ApicMode.X2APIC and after is not ApicMode.X2APIC:
            self.offences.append(access)
            self.left.add(access.vcpu)
        if after is ApicMode.X2APIC:
            self.entered.add(access.vcpu)
            self.left.discard(access.vcpu)
        return after
