# SPDX-License-Identifier: GPL-2.0-or-later
"""Shared by the rules: whether the part of the run that they judge was observed, and the result that follows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from snp_harness.apic.access import Access, Path, Phase
from snp_harness.apic.apic_base import ApicMode
from snp_harness.apic.timeline import AFTER_SEC, Event, Timeline, sec_is_over
from snp_harness.apic.verdict import RuleResult, Status

#: Phases that the SEC rules check: the reset vector counts as "SEC or earlier".
SEC_OR_BEFORE = frozenset({Phase.RESET, Phase.SEC})


@dataclass(frozen=True, slots=True)
class Doubt:
    """Why a rule is inconclusive. observable: False if the witness cannot see what the rule needs."""

    reason: str
    observable: bool = True


def plural(count: int, noun: str, plural_noun: str = "") -> str:
    """Return "1 access", "2 accesses"."""
    return f"{count} {noun}" if count == 1 else f"{count} {plural_noun or noun + 's'}"


def accesses(count: int) -> str:
    """Return "1 local-APIC access", "7 local-APIC accesses"."""
    return plural(count, "local-APIC access", "local-APIC accesses")


def lost_records(timeline: Timeline) -> Doubt | None:
    """Doubt of every rule when records were lost: any of them may have been an access."""
    if not timeline.lost:
        return None
    return Doubt(f"{plural(timeline.lost, 'record')} of the log {'was' if timeline.lost == 1 else 'were'} lost")


def sec_not_seen(timeline: Timeline) -> Doubt | None:
    """Doubt of the SEC rules: SEC was not seen to its end."""
    if timeline.reached in AFTER_SEC and not sec_is_over(timeline.phases):
        shown = ", ".join(
            f"{mark.phase.name} is {mark.known.value} ({mark.evidence})"
            for mark in timeline.phases
            if mark.phase in AFTER_SEC
        )
        return Doubt(f"the end of SEC was not seen: {shown}")
    if timeline.reached in AFTER_SEC or (timeline.reached is Phase.SEC and timeline.complete):
        return lost_records(timeline)
    ended = f": {timeline.gaps[0]}" if timeline.gaps else ""
    return Doubt(f"SEC was not seen to its end, the furthest phase seen is {timeline.reached.name}{ended}")


def run_not_seen(timeline: Timeline) -> Doubt | None:
    """Doubt of the rules about the whole run: a part of it was not observed."""
    if timeline.complete:
        return lost_records(timeline)
    return Doubt(f"the run was not seen whole: {timeline.gaps[0] if timeline.gaps else 'no reason was recorded'}")


def doubt(count: int, reason: str) -> Doubt | None:
    """Doubt about `count` accesses that were observed and cannot be judged."""
    return Doubt(reason) if count else None


def unobserved(count: int, reason: str) -> Doubt | None:
    """Doubt of a rule that could not judge `count` accesses, because the witness did not see what it needs."""
    return Doubt(reason, observable=False) if count else None


def answered_by_guest(count: int) -> Doubt | None:
    """Doubt of a rule that needs to know how an access ended: the guest's own #VC handler answered `count` of them."""
    if not count:
        return None
    return Doubt(f"{accesses(count)} answered by the guest's own #VC handler: how is not observed")


def blind(timeline: Timeline, what: str, needed_for: str) -> Doubt | None:
    """Doubt of a rule that needs something which the witness cannot see."""
    if what not in timeline.not_observed:
        return None
    return Doubt(f"the witness ({timeline.witness}) does not see {needed_for}", observable=False)


def in_x2apic_mode(access: Access) -> bool | None:
    """Return whether a register access was made in x2APIC mode and not through the xAPIC page; None if not observed.

    An x2APIC MSR that answered shows the mode by itself: outside x2APIC mode it raises #GP (APM volume 2, 16.11).
    """
    if access.path is Path.MMIO:
        return False
    if access.mode is not None:
        return access.mode is ApicMode.X2APIC
    if access.path is Path.MSR and access.outcome.value == "ok":
        return True
    return None


def not_applicable(rule: str, reason: str) -> RuleResult:
    """Return the result of a rule that has nothing to judge in this run."""
    return RuleResult(rule, Status.NOT_APPLICABLE, reason)


def conclude(
    rule: str,
    *,
    violated: str = "",
    offences: Sequence[Access] = (),
    events: Sequence[Event] = (),
    doubts: Sequence[Doubt | None] = (),
    holds: str = "",
) -> RuleResult:
    """Return the result: violated with any offence, else inconclusive with the first doubt, else "holds"."""
    if offences or events:
        return RuleResult(rule, Status.VIOLATED, violated, tuple(offences), tuple(events))
    for doubt in doubts:
        if doubt is not None:
            return RuleResult(rule, Status.INCONCLUSIVE, doubt.reason, observable=doubt.observable)
    return RuleResult(rule, Status.HOLDS, holds)
