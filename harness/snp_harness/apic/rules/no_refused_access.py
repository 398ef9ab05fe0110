# SPDX-License-Identifier: GPL-2.0-or-later
"""Rule no-refused-access: every access to the local APIC or APIC_BASE is served."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from snp_harness.apic.access import Access, Outcome, Server
from snp_harness.apic.rules import observation
from snp_harness.apic.timeline import Timeline
from snp_harness.apic.verdict import RuleResult

_REFUSED = frozenset({Outcome.GP, Outcome.NOT_CLAIMED, Outcome.ERROR})


class NoRefusedAccess:
    """No access ends in #GP, in an error of the SVSM, or unclaimed by any APIC.

    This is the symptom of the defect: a register that the SVSM leaves to a hypervisor whose APIC is still in xAPIC
    mode faults (APM volume 2, section 16.11: MSRs 800-8FF outside x2APIC mode raise #GP). A call of the SVSM that was
    answered BUSY or INCOMPLETE is not refused if the vCPU makes it again until it is served.
    """

    name = "no-refused-access"
    specification = (
        "APM 16.11 and 16.11.3 (#GP on unimplemented registers and reserved bits), GHCB 4.1 (a refused MSR "
        "access returns an injected #GP), SVSM APIC protocol (results)."
    )

    def check(self, timeline: Timeline) -> RuleResult:
        """Check the outcome of every access, APIC_BASE included."""
        abandoned, waiting = _unrepeated(timeline.accesses)
        offences = [access for access in timeline.accesses if access.outcome in _REFUSED or access.index in abandoned]
        by_guest = sum(access.served_by is Server.GUEST for access in timeline.accesses)
        unseen = sum(access.outcome is Outcome.NOT_OBSERVED for access in timeline.accesses)
        kinds = Counter(access.outcome.value for access in offences)
        how = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
        return observation.conclude(
            self.name,
            violated=f"{observation.plural(len(offences), 'access', 'accesses')} refused ({how})",
            offences=offences,
            doubts=(
                observation.blind(timeline, "outcome", "whether an access was refused"),
                observation.answered_by_guest(by_guest),
                observation.run_not_seen(timeline),
                observation.doubt(waiting, f"{observation.accesses(waiting)} had not been served when the run ended"),
                observation.unobserved(unseen, f"the run ended before the answer to {observation.accesses(unseen)}"),
            ),
            holds=f"{observation.plural(len(timeline.accesses), 'access', 'accesses')}, none refused",
        )


def _unrepeated(accesses: Sequence[Access]) -> tuple[set[int], int]:
    """Calls that were to be made again and were not: indexes, and how many were the last that their vCPU did."""
    open_calls: dict[tuple[object, ...], int] = {}
    last: dict[int | None, int] = {}
    for access in accesses:
        last[access.vcpu] = access.index
        key = (access.vcpu, access.register, access.operation)
        if access.outcome is Outcome.BUSY:
            open_calls[key] = access.index
        else:
            open_calls.pop(key, None)
    waiting = {index for index in open_calls.values() if index in last.values()}
    return set(open_calls.values()) - waiting, len(waiting)
