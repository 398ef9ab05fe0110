# SPDX-License-Identifier: GPL-2.0-or-later
"""Rule no-access-outside-x2apic: with Alternate Injection every register access is made in x2APIC mode."""

from __future__ import annotations

from snp_harness.apic.access import Access
from snp_harness.apic.rules import injection, observation
from snp_harness.apic.timeline import Timeline
from snp_harness.apic.verdict import RuleResult


class NoAccessOutsideX2Apic:
    """No local-APIC register is accessed outside x2APIC mode or through the xAPIC page, in whatever phase.

    No xAPIC page is behind Alternate Injection, and outside x2APIC mode there are no MSRs. The rule needs no phase: no
    access escapes the contract because SEC is believed to have ended before it.
    """

    name = "no-access-outside-x2apic"
    specification = "as x2apic-before-sec; Linux ends itself when it finds Alternate Injection outside x2APIC mode."

    def check(self, timeline: Timeline) -> RuleResult:
        """Check every register access; what a vCPU does after the end of Alternate Injection cannot be judged."""
        ended = injection.Ends(timeline)
        offences: list[Access] = []
        after = unknown = 0
        for access in timeline.accesses:
            inside = True if access.is_base else observation.in_x2apic_mode(access)
            if inside is None:
                unknown += 1
            elif not inside and ended.before(access.vcpu, access.time_ns):
                after += 1
            elif not inside:
                offences.append(access)
        registers = sum(not access.is_base for access in timeline.accesses)
        return observation.conclude(
            self.name,
            violated=f"{observation.accesses(len(offences))} outside x2APIC mode or through the xAPIC page",
            offences=offences,
            doubts=(
                observation.run_not_seen(timeline),
                injection.begin_not_seen(timeline),
                observation.doubt(
                    after, f"{observation.accesses(after)} outside x2APIC mode after the end of Alternate Injection"
                ),
                observation.unobserved(unknown, f"the mode of {observation.accesses(unknown)} was not observed"),
            ),
            holds=f"{observation.accesses(registers)}, all in x2APIC mode" if registers else "no local-APIC access",
        )
