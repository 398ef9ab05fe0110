# SPDX-License-Identifier: GPL-2.0-or-later
"""Rule legal-transition: every write of APIC_BASE follows the state diagram, and nothing else leads to x2APIC mode."""

from __future__ import annotations

from dataclasses import dataclass, field

from snp_harness.apic.access import Access, Operation, Outcome, Server
from snp_harness.apic.apic_base import ApicMode, is_legal, mode_of
from snp_harness.apic.rules import injection, observation
from snp_harness.apic.rules.observation import Doubt
from snp_harness.apic.timeline import Timeline
from snp_harness.apic.verdict import RuleResult, Status

#: The rule of the architecture that a hypervisor breaks if it changes the mode itself.
STATE_DIAGRAM = "APM volume 2, section 16.9, figure 16-32: only a write of APIC_BASE in xAPIC mode leads to x2APIC mode"
#: Outcomes after which the value written is in force (or may be: the witness did not see a refusal).
_TOOK_EFFECT = frozenset({Outcome.OK, Outcome.NOT_OBSERVED})


@dataclass(slots=True)
class _Findings:
    """What was found in the timeline.

    modes: of each vCPU, as far as observed. unjudged, nameless: writes whose mode before or value was not
    observed, on a vCPU that was observed and on one that was not.
    """

    modes: dict[int, ApicMode] = field(default_factory=dict)
    illegal: list[Access] = field(default_factory=list)
    unexplained: list[Access] = field(default_factory=list)
    writes: int = 0
    unjudged: int = 0
    nameless: int = 0


class LegalTransition:
    """APIC_BASE goes through xAPIC (EN=1, EXTD=0) to x2APIC (EN=1, EXTD=1), as in APM volume 2, figure 16-32.

    A write of an illegal value is an offence even if it is refused. So is a vCPU that is seen in x2APIC mode without a
    write that led there. A mode that the hypervisor reports to have set itself is not the firmware's: the rule does
    not apply then, unless the firmware breaks it as well.
    """

    name = "legal-transition"
    specification = (
        'APM 16.9, table 16-5 and figure 16-32; Intel SDM volume 3, "x2APIC State Transitions"; KVM lapic.c, '
        "kvm_apic_set_base."
    )

    def check(self, timeline: Timeline) -> RuleResult:
        """Check all accesses: each has the mode before it, a write of APIC_BASE also the mode after it."""
        found = _Findings()
        gapless = not timeline.lost and "apic-base" not in timeline.not_observed
        for access in timeline.accesses:
            self._take(access, found, gapless)
        events = injection.by_policy(timeline)
        by_hypervisor = {event.vcpu for event in events}
        unexplained = [access for access in found.unexplained if access.vcpu not in by_hypervisor]
        offences = sorted(found.illegal + unexplained, key=lambda access: access.index)
        parts = []
        if found.illegal:
            parts.append(f"{observation.plural(len(found.illegal), 'illegal write')} of APIC_BASE")
        if unexplained:
            vcpus = ", ".join(str(vcpu) for vcpu in dict.fromkeys(access.vcpu for access in unexplained))
            parts.append(f"x2APIC mode with no write of APIC_BASE that led to it on vCPU {vcpus}")
            parts.append(f"this breaks {STATE_DIAGRAM}")
        writes = observation.plural(found.writes, "write")
        result = observation.conclude(
            self.name,
            violated="; ".join(parts),
            offences=offences,
            doubts=(
                observation.blind(timeline, "apic-base", "accesses to APIC_BASE"),
                observation.run_not_seen(timeline),
                _unjudged(found.unjudged, observable=True),
                _unjudged(found.nameless, observable=False),
            ),
            holds=f"{writes} of APIC_BASE, all legal" if found.writes else "APIC_BASE was not written",
        )
        if events and result.status is Status.HOLDS:
            return observation.not_applicable(self.name, _changed(by_hypervisor))
        return result

    def _take(self, access: Access, found: _Findings, gapless: bool) -> None:
        known = None if access.vcpu is None else found.modes.get(access.vcpu)
        if access.mode is ApicMode.X2APIC and known is not ApicMode.X2APIC and access.vcpu is not None and gapless:
            found.unexplained.append(access)
        before = access.mode or known
        after = before
        if access.is_base and access.operation is Operation.WRITE:
            found.writes += 1
            if before is None or access.value is None:
                found.unjudged += access.vcpu is not None
                found.nameless += access.vcpu is None
                after = None
            elif not is_legal(before, mode_of(access.value)):
                found.illegal.append(access)
            elif access.outcome in _TOOK_EFFECT and access.served_by is not Server.GUEST:
                after = mode_of(access.value)
        elif access.is_base and access.value is not None and access.outcome in _TOOK_EFFECT:
            after = mode_of(access.value)
        if access.vcpu is not None:
            if after is None:
                found.modes.pop(access.vcpu, None)
            else:
                found.modes[access.vcpu] = after


def _changed(vcpus: set[int | None]) -> str:
    named = ", ".join(sorted(map(str, vcpus)))
    return f"the hypervisor changed APIC_BASE of vCPU {named} by itself; this breaks {STATE_DIAGRAM}"


def _unjudged(count: int, observable: bool) -> Doubt | None:
    if not count:
        return None
    what = "mode or value" if observable else "vCPU"
    return Doubt(f"{what} of {observation.plural(count, 'write')} of APIC_BASE was not observed", observable)
