# SPDX-License-Identifier: GPL-2.0-or-later
"""The verdict over all rules, and what it applies to; test_access_rules.py, test_injection_rules.py: the rules."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest
from hypothesis import given, settings

from snp_harness.apic.access import Access, Outcome, Phase, Server
from snp_harness.apic.access import Path as AccessPath
from snp_harness.apic.contract import REQUIRED, RULES, certain, evaluate
from snp_harness.apic.timeline import Event, PhaseMark, Timeline
from snp_harness.apic.verdict import RuleResult, Status
from tests.apic import samples
from tests.apic.judge import check
from tests.apic.samples import READ, begins, timeline, x2apic
from tests.apic.strategies import timelines
from tests.documents import DOCS, page_text

HOLDS, VIOLATED, INCONCLUSIVE = Status.HOLDS, Status.VIOLATED, Status.INCONCLUSIVE
NOT_APPLICABLE = Status.NOT_APPLICABLE


# --- x2apic-before-sec


def test_stock_ovmf_gives_the_seven_accesses() -> None:
    verdict = evaluate(timeline(samples.stock_sec()))
    result = verdict.result("x2apic-before-sec")
    assert (verdict.status, result.status) == (VIOLATED, VIOLATED)
    seen = [(access.operation, access.register.offset, access.value) for access in result.offences]
    assert seen == list(samples.SEVEN)
    assert [access.register.msr for access in result.offences] == [0x80F, 0x80F, 0x832, 0x832, 0x838, 0x832, 0x832]
    assert result.reason == "7 local-APIC accesses in SEC before x2APIC mode"
    assert result.first_offence == result.offences[0]
    assert result.first_offence.index == 1


def test_fixed_firmware_holds() -> None:
    verdict = evaluate(timeline(samples.fixed_sec()))
    assert [result.status for result in verdict.results] == [HOLDS] * len(RULES)
    assert verdict.status is HOLDS
    assert verdict.result("x2apic-before-sec").reason == "7 local-APIC accesses in SEC, all in x2APIC mode"
    assert verdict.result("legal-transition").reason == "1 write of APIC_BASE, all legal"


def test_as_if_alternate_injection_were_active_the_rule_is_the_same() -> None:
    seen = timeline(samples.stock_sec(), alternate_injection=False, svsm=False)
    verdict = evaluate(seen, observed_on="KVM, no SEV", as_if_active=True)
    assert (verdict.status, verdict.as_if_active) == (VIOLATED, True)
    assert len(verdict.result("x2apic-before-sec").offences) == 7
    assert verdict.observed == "KVM, no SEV, judged as if Alternate Injection were active"
    # Where it is active there is nothing to assume.
    assert not evaluate(timeline(samples.stock_sec()), as_if_active=True).as_if_active


@pytest.mark.parametrize(
    ("accesses", "reason"),
    [
        (
            samples.stock_sec(),
            "Alternate Injection is not active; with it: 7 local-APIC accesses in SEC before x2APIC mode",
        ),
        (samples.fixed_sec(), "Alternate Injection is not active"),
    ],
)
def test_without_alternate_injection_the_contract_does_not_apply(accesses: list[Access], reason: str) -> None:
    verdict = evaluate(timeline(accesses, alternate_injection=False, apic_protocol=False))
    assert (verdict.status, verdict.reason) == (NOT_APPLICABLE, reason)
    assert {result.status for result in verdict.results} == {NOT_APPLICABLE}
    assert verdict.observed == "emulated, Alternate Injection not active"
    stated = verdict.result("x2apic-before-sec")
    assert stated.reason.startswith("with Alternate Injection ")
    assert len(stated.offences) == (7 if "7" in reason else 0)


@pytest.mark.parametrize("fields", [{"lost": 1}, {"complete": False, "gaps": ("QEMU died",)}])
def test_what_was_not_seen_whole_does_not_pass_for_a_run_without_alternate_injection(fields: dict[str, Any]) -> None:
    verdict = evaluate(timeline(samples.fixed_sec(), alternate_injection=False, apic_protocol=False, **fields))
    assert verdict.status is INCONCLUSIVE
    assert verdict.reason.startswith("Alternate Injection is not active, and the run was not seen whole: ")


@pytest.mark.parametrize(
    ("events", "reason"),
    [
        ([begins(active=0)], "Alternate Injection was to be active, and was not seen to begin"),
        ([begins(vcpu=1)], "Alternate Injection was not seen to begin on vCPU 0 before its first access"),
        ([begins(time_ns=2000)], "Alternate Injection was not seen to begin on vCPU 0 before its first access"),
    ],
)
def test_alternate_injection_that_was_not_seen_to_begin(events: list[Event], reason: str) -> None:
    verdict = evaluate(timeline(samples.fixed_sec(), events=tuple(events)))
    assert verdict.status is INCONCLUSIVE
    assert verdict.result("x2apic-before-sec").reason == reason
    # A witness that would not see it has the configuration alone.
    blind = timeline(samples.fixed_sec(), events=tuple(events), not_observed=frozenset({"alternate-injection"}))
    assert evaluate(blind).status is HOLDS


def changed(time_ns: int, vcpu: int = 0, **fields: int) -> Event:
    event = begins(time_ns, vcpu)
    return dataclasses.replace(event, fields={**event.fields, **fields})


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ([changed(500, active=0, asked=0)], INCONCLUSIVE),
        ([changed(500, active=0, asked=1)], HOLDS),
        ([changed(500, active=0, asked=0, vcpu=1)], HOLDS),
        ([changed(500, active=1, asked=0)], HOLDS),
        ([changed(1 << 60, active=0, asked=0)], HOLDS),
        # The guest ended it on another vCPU before, and so for all, or did so afterwards.
        ([changed(400, active=0, asked=1, vcpu=1), changed(500, active=0, asked=0)], HOLDS),
        ([changed(500, active=0, asked=0), changed(600, active=0, asked=1, vcpu=1)], INCONCLUSIVE),
    ],
)
def test_the_svsm_ends_alternate_injection_before_the_firmware_s_accesses(changes: list[Event], status: Status) -> None:
    """They cannot show then how the firmware does with it."""
    assert check("x2apic-before-sec", samples.fixed_sec(), events=(begins(), *changes)).status is status


# --- the verdict over all


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({}, HOLDS),
        ({"lost": 1}, INCONCLUSIVE),
        ({"complete": False, "gaps": ("QEMU died",)}, INCONCLUSIVE),
        # A rule that the witness cannot observe at all does not count ...
        ({"not_observed": frozenset({"page-state", "outcome", "apic-base"})}, HOLDS),
        # ... unless observable parts are missing, too.
        ({"not_observed": frozenset({"page-state"}), "lost": 1}, INCONCLUSIVE),
    ],
)
def test_overall(fields: dict[str, Any], status: Status) -> None:
    assert evaluate(timeline(samples.fixed_sec(), **fields)).status is status


def test_a_required_rule_that_cannot_be_observed_keeps_the_verdict_open() -> None:
    class Blind:
        name = "x2apic-before-sec"
        specification = ""
        title = ""

        def check(self, timeline: Timeline) -> RuleResult:
            return RuleResult(self.name, INCONCLUSIVE, "not visible", observable=False)

    assert evaluate(timeline(), rules=(Blind(),)).status is INCONCLUSIVE
    assert evaluate(timeline(), rules=()).status is INCONCLUSIVE


def test_a_platform_that_says_nothing_else_is_named_as_it_is() -> None:
    assert evaluate(timeline(platform="other")).observed == "other"


@settings(max_examples=50)
@given(timelines())
def test_any_timeline_gets_a_verdict(drawn: Timeline) -> None:
    verdict = evaluate(drawn)
    assert [result.rule for result in verdict.results] == [rule.name for rule in RULES]
    for result in verdict.results:
        if result.status is not NOT_APPLICABLE:
            assert (result.status is VIOLATED) == bool(result.offences or result.events)
            assert result.observable or result.status is INCONCLUSIVE
        assert result.reason
        assert list(result.offences) == sorted(result.offences, key=lambda access: access.index)
    assert (verdict.status is VIOLATED) == any(result.status is VIOLATED for result in verdict.results)


@settings(max_examples=50)
@given(timelines())
def test_losing_records_never_makes_it_better(drawn: Timeline) -> None:
    whole, lossy = evaluate(dataclasses.replace(drawn, lost=0)), evaluate(dataclasses.replace(drawn, lost=1))
    assert lossy.status is not HOLDS
    for before, after in zip(whole.results, lossy.results, strict=True):
        assert after.status is not HOLDS
        assert before.status is VIOLATED or after.status in (INCONCLUSIVE, NOT_APPLICABLE)


def test_the_reference_page_describes_every_rule() -> None:
    page = page_text(DOCS / "contract.md")
    assert re.findall(r"^## `([a-z0-9-]+)`", page, re.MULTILINE) == [rule.name for rule in RULES]
    for rule in RULES:
        section = page.split(f"## `{rule.name}`")[1].split("\n## ")[0]
        assert all(f"**{part}**" in section for part in ("Asserts", "Specification", "Inconclusive"))
        assert ("required" in section.splitlines()[2]) == (rule.name in REQUIRED)


def test_each_rule_names_its_specification() -> None:
    page = page_text(DOCS / "contract.md")
    for rule in RULES:
        [part] = re.findall(rf"^## `{rule.name}`\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
        [said] = re.findall(r"\*\*Specification\*\*: (.*?)\n\n", part, re.DOTALL)
        assert rule.specification == " ".join(said.replace("`", "").split())


def test_phases_do_not_decide_by_number() -> None:
    # UNKNOWN is 99: greater than PEI as a number, but no evidence that SEC ended.
    marks = (PhaseMark(Phase.UNKNOWN, 0, 1, "noise"),)
    assert evaluate(timeline([], phases=marks, reached=Phase.UNKNOWN)).status is INCONCLUSIVE


# --- a run that goes on


def test_what_is_certain_before_the_end_of_a_run() -> None:
    assert certain(evaluate(timeline(samples.stock_sec(), complete=False, gaps=("goes on",))))
    assert not certain(evaluate(timeline(samples.fixed_sec(), complete=False, gaps=("goes on",))))
    refused = x2apic(READ, 0x80F, outcome=Outcome.GP)
    assert certain(evaluate(timeline([*samples.fixed_sec(), refused])))


def test_what_a_later_answer_can_explain_is_not_certain() -> None:
    """A call that was answered BUSY may be made again, and the SVSM may say that it does not serve a register."""
    busy = x2apic(READ, 0x802, path=AccessPath.SVSM, outcome=Outcome.BUSY, served_by=Server.SVSM)
    other = x2apic(READ, 0x808, path=AccessPath.SVSM, served_by=Server.SVSM)
    for accesses in ([busy, other], [x2apic(READ, 0x802, served_by=Server.HYPERVISOR)]):
        verdict = evaluate(timeline([*samples.fixed_sec(), *accesses]))
        assert verdict.status is VIOLATED
        assert not certain(verdict)
