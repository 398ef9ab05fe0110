# SPDX-License-Identifier: GPL-2.0-or-later
"""How far a boot comes, and whether it crashes, as the question of a bisection."""

from __future__ import annotations

from typing import Any

import pytest

from snp_harness.apic.access import Phase
from snp_harness.apic.timeline import Event, Timeline
from snp_harness.apic.verdict import Status, Verdict
from snp_harness.bisect.boot_rules import NAMES, BootRule
from snp_harness.bisect.step import Judgement, Question
from snp_harness.svsm.config import SvsmConfig
from tests.apic.samples import timeline

TIMED_OUT = "the end of PEI was not reached in 60 s"
SHUTDOWN = Event("guest-shutdown", 900, 0, "the guest ended: triple fault", {})


def ended(phase: Phase, *events: Event, **fields: Any) -> Timeline:
    """A run that ended in a phase before its goal."""
    gaps = tuple(event.text for event in events) or (TIMED_OUT,)
    return timeline(events=events, reached=phase, complete=False, **{"gaps": gaps, **fields})


def judged(rule: str, seen: Timeline) -> Status:
    found = BootRule.find(rule)
    assert found is not None
    return found.judge(seen)[0]


@pytest.mark.parametrize(
    ("rule", "seen", "status"),
    [
        ("reached:dxe", ended(Phase.DXE), Status.HOLDS),
        ("reached:dxe", ended(Phase.DXE, SHUTDOWN), Status.HOLDS),
        ("reached:dxe", ended(Phase.PEI), Status.VIOLATED),
        ("reached:dxe", ended(Phase.PEI, SHUTDOWN), Status.VIOLATED),
        ("reached:dxe", ended(Phase.PEI, lost=1), Status.INCONCLUSIVE),
        ("reached:shell", ended(Phase.BDS), Status.VIOLATED),
        ("reached:shell", timeline(reached=Phase.BDS, complete=True, gaps=()), Status.HOLDS),
        ("no-crash", ended(Phase.PEI, SHUTDOWN), Status.VIOLATED),
        ("no-crash", ended(Phase.PEI), Status.INCONCLUSIVE),
        ("no-crash", timeline(reached=Phase.PEI, complete=True, gaps=()), Status.HOLDS),
    ],
)
def test_the_answer(rule: str, seen: Timeline, status: Status) -> None:
    assert judged(rule, seen) is status


def test_the_reason_is_the_guests_end() -> None:
    rule = BootRule.find("reached:dxe")
    assert rule is not None
    assert rule.judge(ended(Phase.PEI, SHUTDOWN)) == (Status.VIOLATED, "the guest ended: triple fault")
    assert rule.judge(ended(Phase.PEI)) == (Status.VIOLATED, TIMED_OUT)


@pytest.mark.parametrize(("rule", "goal"), [("reached:dxe", "pei"), ("reached:shell", "shell"), ("no-crash", "bds")])
def test_a_run_goes_as_far_as_the_question_needs(rule: str, goal: str) -> None:
    question = Question("emulated", SvsmConfig(), "bds", 60.0, rule)
    assert (question.goal, question.sec_only) == (goal, False)
    verdict = Verdict(Status.VIOLATED, (), "emulated", "witness", "observed", frozenset())
    judgement, reason, offence = question.judge(verdict, timeline(reached=Phase.DXE, complete=True, gaps=()))
    assert (judgement, reason, offence) == (Judgement.GOOD, f"{rule} holds", "")


def test_other_names_are_none() -> None:
    assert len(NAMES) == 5
    for name in ("", "reached", "reached:", "reached:sec", "reached:os", "crash", "x2apic-before-sec"):
        assert BootRule.find(name) is None
