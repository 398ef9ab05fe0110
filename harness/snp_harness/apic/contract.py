# SPDX-License-Identifier: GPL-2.0-or-later
"""The contract: the rules in one tuple, and the verdict over them (docs/contract.md)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from snp_harness.apic.rules.apic_protocol_offered import ApicProtocolUsedOnlyWhenOffered
from snp_harness.apic.rules.legal_transition import LegalTransition
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
    """One rule of the contract. name: stable, used in files and options."""

    name: str

    def check(self, timeline: Timeline) -> RuleResult:
        """Apply the rule to a timeline. Does not raise: what cannot be judged gives an inconclusive result."""
        ...


RULES: tuple[Rule, ...] = (
    X2ApicBeforeSec(),
    LegalTransition(),
    NoXapicAfterX2apic(),
    NoRefusedAccess(),
    SecApicPageShared(),
    SvsmHandlesItsRegisters(),
    TimerReachesHypervisorInX2Apic(),
    NoUnregisteredVector(),
    ApicProtocolUsedOnlyWhenOffered(),
)

#: Rules that "holds" requires, even where the witness cannot observe what they need.
REQUIRED: frozenset[str] = frozenset({X2ApicBeforeSec.name})


def evaluate(timeline: Timeline, rules: Sequence[Rule] = RULES, *, observed_on: str = "") -> Verdict:
    """Check every rule and return the verdict.

    observed_on: how the platform obtains its results, in words; without it the verdict has the platform's name.
    Violated if any rule is. Otherwise inconclusive if a rule is, except for a rule outside REQUIRED that the witness
    cannot observe at all: such a rule is listed and does not count. Otherwise holds.
    """
    results = tuple(rule.check(timeline) for rule in rules)
    return Verdict(
        status=_overall(results),
        results=results,
        platform=timeline.platform,
        witness=timeline.witness,
        observed=_observed(timeline, observed_on or timeline.platform),
        not_observed=timeline.not_observed,
    )


def _overall(results: Sequence[RuleResult]) -> Status:
    if any(result.status is Status.VIOLATED for result in results):
        return Status.VIOLATED
    counted = [result for result in results if result.observable or result.rule in REQUIRED]
    if not counted or any(result.status is Status.INCONCLUSIVE for result in counted):
        return Status.INCONCLUSIVE
    return Status.HOLDS


def _observed(timeline: Timeline, observed_on: str) -> str:
    parts = [observed_on]
    if not timeline.alternate_injection:
        parts.append("Alternate Injection not active")
    if timeline.faults:
        parts.append(f"faults injected: {', '.join(timeline.faults)}")
    return ", ".join(parts)
