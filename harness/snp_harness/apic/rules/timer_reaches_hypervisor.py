# SPDX-License-Identifier: GPL-2.0-or-later
"""Rule timer-reaches-hypervisor-in-x2apic: the APIC timer is reached by x2APIC MSRs, or served by the SVSM."""

from __future__ import annotations

from snp_harness.apic.access import Access, Outcome, Path, Server
from snp_harness.apic.registers import by_msr
from snp_harness.apic.rules import injection, observation
from snp_harness.apic.timeline import Timeline
from snp_harness.apic.verdict import RuleResult

#: LVT timer, initial count, current count, divide configuration (APM volume 2, section 16.4.1).
TIMER = frozenset(map(by_msr, (0x832, 0x838, 0x839, 0x83E)))


class TimerReachesHypervisorInX2Apic:
    """With Alternate Injection, accesses to the timer's registers are x2APIC MSRs in x2APIC mode, and not refused.

    The SVSM does not serve the timer; the hypervisor does, and refuses its MSRs while its APIC is in xAPIC mode. An
    access to the timer that an SVSM does serve is correct as well.
    """

    name = "timer-reaches-hypervisor-in-x2apic"
    specification = (
        "APM 16.11 (MSRs 800-8FF outside x2APIC mode raise #GP), GHCB 4.1 (MSR accesses of the guest go to "
        "the hypervisor), SVSM APIC protocol (the timer is not among its registers; the preliminary "
        "specification has it as a feature)."
    )

    def check(self, timeline: Timeline) -> RuleResult:
        """Check the accesses to the timer while Alternate Injection is active."""
        if not timeline.alternate_injection:
            return observation.not_applicable(self.name, injection.INACTIVE)
        activity = injection.Activity(timeline)
        used = [
            access
            for access in timeline.accesses
            if access.register in TIMER and activity.at(access.vcpu, access.time_ns)
        ]
        judged = [(access, _is_right(access)) for access in used]
        offences = [access for access, right in judged if right is False]
        unknown = sum(right is None for _, right in judged)
        by_guest = sum(access.served_by is Server.GUEST for access in used)
        by_svsm = sum(access.served_by is Server.SVSM for access in used)
        mmio = sum(access.path is Path.MMIO for access in offences)
        parts = [f"{mmio} by MMIO"] if mmio else []
        if len(offences) > mmio:
            parts.append(f"{len(offences) - mmio} outside x2APIC mode or refused")
        return observation.conclude(
            self.name,
            violated=f"{_timer_accesses(len(offences))} did not reach it in x2APIC mode ({', '.join(parts)})",
            offences=offences,
            doubts=(
                injection.calls_not_seen(timeline),
                observation.run_not_seen(timeline),
                observation.answered_by_guest(by_guest),
                observation.unobserved(unknown, f"mode or outcome of {_timer_accesses(unknown)} was not observed"),
            ),
            holds=_holds(len(used), by_svsm),
        )


def _is_right(access: Access) -> bool | None:
    """The access reached the right APIC; None if that was not observed."""
    if access.path is Path.MMIO or access.outcome not in (Outcome.OK, Outcome.BUSY, Outcome.NOT_OBSERVED):
        return False
    if access.outcome is Outcome.NOT_OBSERVED:
        return False if observation.in_x2apic_mode(access) is False else None
    return True if access.served_by is Server.SVSM else observation.in_x2apic_mode(access)


def _timer_accesses(count: int) -> str:
    return observation.plural(count, "access to the APIC timer", "accesses to the APIC timer")


def _holds(used: int, by_svsm: int) -> str:
    if not used:
        return "the APIC timer was not used"
    return f"{_timer_accesses(used)}, {used - by_svsm} served by the hypervisor in x2APIC mode, {by_svsm} by the SVSM"
