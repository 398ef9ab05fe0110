# SPDX-License-Identifier: GPL-2.0-or-later
"""The contract: the rules in one tuple, and the verdict over them (docs/contract.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, Protocol

from snp_harness.apic.access import Outcome
from snp_harness.apic.rules import injection
from snp_harness.apic.rules.apic_protocol_offered import ApicProtocolUsedOnlyWhenOffered
from snp_harness.apic.rules.legal_transition import LegalTransition
from snp_harness.apic.rules.no_access_outside_x2apic import NoAccessOutsideX2Apic
from snp_harness.apic.rules.no_refused_access import NoRefusedAccess
from snp_harness.apic.rules.no_unregistered_vector import NoUnregisteredVector
from snp_harness.apic.rules.no_xapic_after_x2apic import NoXapicAfterX2apic
from snp_harness.apic.rules.sec_apic_page_shared import SecApicPageShared
from snp_harness.apic.rules.svsm_handles_its_registers import SvsmHandlesItsRegisters
from snp_harness.apic.rules.timer_reaches_hypervisor import TimerReachesHypervisorInX2Apic
from snp_harness.apic.rules.x2apic_before_sec import X2ApicBeforeSec
from snp_harness.apic.timeline import Timeline
from snp_harness.apic.verdict import RuleResult, Status, Verdict


class Rule(Protocol):
    """One rule of the contract. name: stable, used in files and options. specification: what requires it."""

    name: str
    specification: str

    def check(self, timeline: Timeline) -> RuleResult:
        """Apply the rule to a timeline. Does not raise: what cannot be judged gives an inconclusive result."""
        ...


RULES: tuple[Rule, ...] = (
    X2ApicBeforeSec(),
    LegalTransition(),
    NoXapicAfterX2apic(),
    NoAccessOutsideX2Apic(),
    NoRefusedAccess(),
    SecApicPageShared(),
    SvsmHandlesItsRegisters(),
    TimerReachesHypervisorInX2Apic(),
    NoUnregisteredVector(),
    ApicProtocolUsedOnlyWhenOffered(),
)

#: The names of RULES, for type checkers.
RuleName = Literal[
    "x2apic-before-sec",
    "legal-transition",
    "no-xapic-after-x2apic",
    "no-access-outside-x2apic",
    "no-refused-access",
    "sec-apic-page-shared",
    "svsm-handles-its-registers",
    "timer-reaches-hypervisor-in-x2apic",
    "no-unregistered-vector",
    "apic-protocol-used-only-when-offered",
]
#: Rules that "holds" requires, even where the witness cannot observe what they need.
REQUIRED: frozenset[str] = frozenset({X2ApicBeforeSec.name})

#: Rules of which an offence stays one, whatever follows in the run. Of the others, a later answer of the SVSM may
#: explain an access.
_FINAL = frozenset(
    rule.name
    for rule in (X2ApicBeforeSec, LegalTransition, NoXapicAfterX2apic, NoAccessOutsideX2Apic, SecApicPageShared)
)


def certain(verdict: Verdict) -> RuleResult | None:
    """Return the first broken rule that makes a run in progress violated whatever follows, None if there is none."""
    if verdict.status is not Status.VIOLATED:
        return None
    return next(filter(_is_final, verdict.results), None)


def _is_final(result: RuleResult) -> bool:
    if result.status is not Status.VIOLATED:
        return False
    if result.rule == NoRefusedAccess.name:
        # A call that was answered BUSY may be made again.
        return any(access.outcome is not Outcome.BUSY for access in result.offences)
    return result.rule in _FINAL


def required(chosen: Sequence[str]) -> frozenset[str]:
    """Return the names of the rules that "holds" requires. chosen: those that a run is judged by alone, if any."""
    return frozenset(chosen) or REQUIRED


def counts(result: RuleResult, chosen: Sequence[str]) -> bool:
    """Return whether a result takes part in the verdict: what cannot be observed does only if it is required."""
    return result.observable or result.rule in required(chosen)


def explained(rule: Rule) -> str:
    """Return what a rule asserts: a sentence, and after an empty line why."""
    import inspect  # a run does not need it

    return inspect.cleandoc(type(rule).__doc__ or rule.name)


def evaluate(
    timeline: Timeline,
    rules: Sequence[Rule] = RULES,
    *,
    observed_on: str = "",
    as_if_active: bool = False,
    chosen: Sequence[str] = (),
) -> Verdict:
    """Check every rule and return the verdict.

    chosen: names of the only rules that are checked, each of them required; empty: all.

    observed_on: how the platform obtains its results, in words; without it the verdict has the platform's name.
    as_if_active: judge a run without Alternate Injection as if it were active.
    Without Alternate Injection the contract does not apply: each rule then states what it would be otherwise.
    Else violated if any rule is; but inconclusive if Alternate Injection was not seen to begin. Otherwise inconclusive
    if a rule is, except for a rule outside REQUIRED that the witness cannot observe at all: such a rule is listed and
    does not count. Otherwise the contract does not apply if the hypervisor has set x2APIC mode by itself. Otherwise it
    holds.
    """
    results = tuple(rule.check(timeline) for rule in rules if not chosen or rule.name in chosen)
    assumed = as_if_active and not timeline.alternate_injection
    if timeline.alternate_injection or assumed:
        status, reason = _overall(results, chosen), ""
        if status is Status.HOLDS and injection.by_policy(timeline):
            status, reason = Status.NOT_APPLICABLE, _by_hypervisor(results)
        if status is Status.VIOLATED and not as_if_active and not injection.begun_or_unseen(timeline):
            status, reason = Status.INCONCLUSIVE, f"Alternate Injection was {injection.state(timeline)}"
            reason += f"; with it: {_first_broken(results)}"
            results = tuple(_stated(result) for result in results)
    else:
        status, reason = _without(timeline, results)
        results = tuple(_stated(result) for result in results)
    return Verdict(
        status=status,
        results=results,
        platform=timeline.platform,
        witness=timeline.witness,
        observed=_observed(timeline, observed_on or timeline.platform, assumed, chosen),
        not_observed=timeline.not_observed,
        reason=reason,
        as_if_active=assumed,
        chosen=tuple(chosen),
    )


def _overall(results: Sequence[RuleResult], chosen: Sequence[str]) -> Status:
    applying = [result for result in results if result.status is not Status.NOT_APPLICABLE]
    if any(result.status is Status.VIOLATED for result in applying):
        return Status.VIOLATED
    counted = [result for result in applying if counts(result, chosen)]
    if not counted or any(result.status is Status.INCONCLUSIVE for result in counted):
        return Status.INCONCLUSIVE
    return Status.HOLDS


def _by_hypervisor(results: Sequence[RuleResult]) -> str:
    named = [result.reason for result in results if result.rule == LegalTransition.name]
    return named[0] if named else "the hypervisor changed APIC_BASE by itself"


def _without(timeline: Timeline, results: Sequence[RuleResult]) -> tuple[Status, str]:
    """The verdict of a run without Alternate Injection, and its reason: what the firmware would break otherwise."""
    if timeline.lost or not timeline.complete:
        why = timeline.gaps[0] if timeline.gaps else "records of the log were lost"
        return Status.INCONCLUSIVE, f"{injection.INACTIVE}, and the run was not seen whole: {why}"
    if injection.begun(timeline):
        return Status.INCONCLUSIVE, f"Alternate Injection was {injection.UNEXPECTED}"
    broken = _first_broken(results)
    return Status.NOT_APPLICABLE, f"{injection.INACTIVE}; with it: {broken}" if broken else injection.INACTIVE


def _first_broken(results: Sequence[RuleResult]) -> str:
    """Return the reason of the first rule that is violated, a required one if there is one; "" if none is."""
    broken = [result for result in results if result.status is Status.VIOLATED]
    broken.sort(key=lambda result: result.rule not in REQUIRED)
    return broken[0].reason if broken else ""


def _stated(result: RuleResult) -> RuleResult:
    """A rule's result where the contract does not apply: what it would be with Alternate Injection."""
    if result.status is Status.NOT_APPLICABLE:
        return result
    return replace(
        result, status=Status.NOT_APPLICABLE, reason=f"with Alternate Injection {result.status.value}: {result.reason}"
    )


def _observed(timeline: Timeline, observed_on: str, assumed: bool, chosen: Sequence[str]) -> str:
    parts = [observed_on]
    if chosen:
        parts.append(f"judged by {', '.join(chosen)} alone")
    if assumed:
        parts.append("judged as if Alternate Injection were active")
    elif not timeline.alternate_injection:
        parts.append(f"Alternate Injection {injection.state(timeline)}")
    if timeline.faults:
        parts.append(f"faults injected: {', '.join(timeline.faults)}")
    return ", ".join(parts)
