# SPDX-License-Identifier: GPL-2.0-or-later
"""The results of the contract's rules, one for each rule, and the verdict over all of them."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any

from snp_harness.apic.access import Access
from snp_harness.apic.timeline import Event
from snp_harness.errors import EXIT_HOLDS, EXIT_INCONCLUSIVE, EXIT_VIOLATED

#: Offences and events of a rule that JSON lists; the timeline has all.
LISTED = 200


class Status(enum.Enum):
    """Holds, violated, inconclusive: neither could be shown; or does not apply: there is nothing to judge."""

    HOLDS = "holds"
    VIOLATED = "violated"
    INCONCLUSIVE = "inconclusive"
    NOT_APPLICABLE = "does not apply"


#: Exit status of the command by the verdict.
EXIT_STATUS = {
    Status.HOLDS: EXIT_HOLDS,
    Status.VIOLATED: EXIT_VIOLATED,
    Status.INCONCLUSIVE: EXIT_INCONCLUSIVE,
    Status.NOT_APPLICABLE: EXIT_HOLDS,
}


@dataclass(frozen=True, slots=True)
class RuleResult:
    """The result of one rule.

    rule: the rule's stable name. reason: one sentence. offences: the accesses that break the rule, in order; if it does
    not apply, those that would break it.
    events: the events that break it (an access that never completed is not an `Access`), in order.
    observable: False if the witness cannot see what the rule needs; True unless the result is inconclusive.
    """

    rule: str
    status: Status
    reason: str
    offences: tuple[Access, ...] = ()
    events: tuple[Event, ...] = ()
    observable: bool = True

    @property
    def first_offence(self) -> Access | None:
        """The earliest offending access, if any."""
        return self.offences[0] if self.offences else None

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON values (docs/json.md)."""
        return {
            "rule": self.rule,
            "status": self.status.value,
            "reason": self.reason,
            "observable": self.observable,
            "offences": [access.to_json() for access in self.offences[:LISTED]],
            "offence_count": len(self.offences),
            "events": [event.to_json() for event in self.events[:LISTED]],
            "event_count": len(self.events),
        }


@dataclass(frozen=True, slots=True)
class Verdict:
    """The verdict over all rules.

    results: one for each rule, in the rules' order. platform, witness: as in the timeline.
    observed: how the run was observed, in words. not_observed: what the witness cannot see.
    reason: why the contract does not apply, or why a run without Alternate Injection is inconclusive; else empty, the
    rules have their own. as_if_active: judged as if Alternate Injection were active, which it was not. chosen: the only
    rules that were judged; empty: all.
    """

    status: Status
    results: tuple[RuleResult, ...]
    platform: str
    witness: str
    observed: str
    not_observed: frozenset[str]
    reason: str = ""
    as_if_active: bool = False
    chosen: tuple[str, ...] = ()

    def __repr__(self) -> str:
        same = (result.reason for result in self.results if result.status is self.status)
        return f"<Verdict {self.status.value}: {self.reason or next(same, 'no rule was checked')}>"

    def result(self, rule: str) -> RuleResult:
        """Return the result of a rule by name. Raises KeyError."""
        for result in self.results:
            if result.rule == rule:
                return result
        raise KeyError(rule)

    def to_json(self) -> dict[str, Any]:
        """Return the verdict as JSON values (docs/json.md)."""
        return {
            "status": self.status.value,
            "reason": self.reason,
            "as_if_active": self.as_if_active,
            "chosen": list(self.chosen),
            "platform": self.platform,
            "witness": self.witness,
            "observed": self.observed,
            "not_observed": sorted(self.not_observed),
            "rules": [result.to_json() for result in self.results],
        }
