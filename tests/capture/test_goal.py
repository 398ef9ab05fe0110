# SPDX-License-Identifier: GPL-2.0-or-later
"""Where a run ends: the same place however the log is read, and never before what the goal's time has."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snp_harness.apic.access import Operation, Outcome, Path, Phase, Server
from snp_harness.apic.apic_base import ApicMode
from snp_harness.apic.contract import evaluate
from snp_harness.apic.registers import by_offset
from snp_harness.apic.timeline import Known, Timeline
from snp_harness.apic.verdict import Status, Verdict
from snp_harness.capture.after_goal import judge_run
from snp_harness.capture.collect import Collector
from snp_harness.capture.console_text import ConsoleText
from snp_harness.capture.goal import BDS_LINE, PROMPT, Until, is_reached, wanted_texts

BOOT = 'BdsDxe: loading Boot0001 "EFI Internal Shell"\r\n'
SEC, PEI, DXE, BDS, OS = Phase.SEC, Phase.PEI, Phase.DXE, Phase.BDS, Phase.OS
#: What a witness may add: a phase, an access of a phase (None: the present one), an event, a text of the console.
Step = tuple[str, Any]
ENTER = [("enter", phase) for phase in (SEC, PEI, DXE, BDS, OS)]


def play(collector: Collector, *steps: Step) -> Collector:
    for kind, what in steps:
        if kind == "enter":
            collector.enter(what, None, "code", Known.PROVEN)
        elif kind == "event":
            collector.event("rmp-violation", None, 0, "", phase=what, gpa=0)
        elif kind == "show":
            collector.show(*what)
        else:
            phase, mode = what
            collector.access(
                Operation.WRITE, by_offset(0x320), Path.MMIO if mode is ApicMode.XAPIC else Path.MSR, value=0, size=4,
                vcpu=0, vmpl=2, mode=mode, outcome=Outcome.OK, served_by=Server.HYPERVISOR, phase=phase,
            )  # fmt: skip
    return collector


def right(phase: Phase | None = None) -> Step:
    return "access", (phase, ApicMode.X2APIC)


def wrong(phase: Phase | None = None) -> Step:
    return "access", (phase, ApicMode.XAPIC)


def finished(collector: Collector) -> Timeline:
    return collector.finish(
        witness="w", platform="p", gaps=[], lost=0, not_observed=frozenset(), alternate_injection=False, svsm=False
    )


def judge(timeline: Timeline) -> Verdict:
    return evaluate(timeline, as_if_active=True, chosen=("x2apic-before-sec", "no-access-outside-x2apic"))


def cut(until: Until, *steps: Step) -> Timeline:
    collector = Collector()
    collector.follow(until)
    return finished(play(collector, *steps))


@pytest.mark.parametrize("until", [SEC, PEI, DXE, BDS])
def test_a_run_until_a_phase_ends_where_the_next_one_begins(until: Phase) -> None:
    steps = [step for phase in (SEC, PEI, DXE, BDS, OS) for step in (("enter", phase), right(), ("event", "DXE"))]
    timeline = cut(until, *steps)
    assert [mark.phase for mark in timeline.phases] == [phase for phase in Phase if SEC <= phase <= until + 1]
    assert [access.phase for access in timeline.accesses] == [phase for phase in Phase if SEC <= phase <= until]
    assert len(timeline.events) == len(timeline.accesses)
    assert timeline.reached == until + 1


STEPS = st.lists(
    st.one_of(
        st.sampled_from(ENTER),
        st.builds(lambda phase: right(phase), st.sampled_from([None, SEC, Phase.UNKNOWN])),
        st.builds(lambda phase: wrong(phase), st.sampled_from([None, SEC, Phase.UNKNOWN])),
        st.sampled_from([("event", "SEC"), ("event", "PEI")]),
        st.sampled_from([("show", ("bds", "BdsDxe: x")), ("show", ("prompt", "Shell>")), ("show", ("goal", "x"))]),
    ),
    max_size=24,
)
GOALS = st.sampled_from([SEC, PEI, DXE, BDS, "shell", "os", "exit", re.compile("x")])


@given(STEPS, STEPS, GOALS)
def test_what_follows_the_end_changes_nothing(steps: list[Step], more: list[Step], until: Until) -> None:
    """Nor does it matter when the goal was given."""
    short, long, late = Collector(), Collector(), Collector()
    short.follow(until)
    long.follow(until)
    play(short, *steps)
    if short.cut is not None:
        play(long, *steps, *more)
        assert finished(short) == finished(long)
        play(late, *steps, *more).follow(until)
        assert finished(late) == finished(long)
    else:
        assert finished(play(long, *steps)) == finished(play(Collector(), *steps))


@given(STEPS, GOALS)
def test_the_end_is_the_first_place_that_shows_the_goal(steps: list[Step], until: Until) -> None:
    collector = Collector()
    collector.follow(until)
    for step in steps:
        before = is_reached(until, collector.phases, collector.shown)
        assert before == (collector.cut is not None)
        play(collector, step)
    timeline = finished(collector)
    assert is_reached(until, timeline.phases, collector.shown) == (collector.cut is not None)


@given(STEPS, GOALS)
def test_an_offence_of_the_goals_time_is_never_hidden(steps: list[Step], until: Until) -> None:
    """Each access outside x2APIC mode by SEC's code, or by code that may be SEC's, counts wherever it comes."""
    collector = Collector()
    collector.follow(until)
    play(collector, *steps)
    judged = judge_run(finished(collector), collector, judge)
    reached = finished(collector).reached
    early = [
        access
        for access in collector.accesses
        if access.mode is ApicMode.XAPIC and (access.phase is Phase.UNKNOWN or access.phase < reached)
    ]
    assert set(early) <= set(judged.timeline.accesses)
    if early:
        assert judged.verdict.status is Status.VIOLATED
    assert judged.after == len(collector.accesses) - len(judged.timeline.accesses)


def test_an_offence_after_the_goal_is_told_and_not_judged() -> None:
    collector = Collector()
    collector.follow(SEC)
    play(collector, ("enter", SEC), right(), ("enter", PEI), right(), wrong())
    judged = judge_run(finished(collector), collector, judge)
    assert judged.verdict.status is Status.HOLDS
    assert judged.note == (
        "2 local-APIC accesses after the goal, until QEMU was stopped, not judged: they break"
        " no-access-outside-x2apic; a later --until judges them"
    )
    assert judged.to_json() == {"accesses": 2, "note": judged.note, "records_before": None}


def test_right_accesses_after_the_goal_are_only_counted() -> None:
    collector = Collector()
    collector.follow(SEC)
    play(collector, ("enter", SEC), right(), ("enter", PEI), right())
    judged = judge_run(finished(collector), collector, judge)
    assert (judged.after, judged.note, len(judged.timeline.accesses)) == (1, "", 1)


@pytest.mark.parametrize("late", [wrong(SEC), wrong(Phase.RESET), wrong(Phase.UNKNOWN)])
def test_code_of_sec_after_pei_is_judged(late: Step) -> None:
    """Firmware can run a piece of PEI's code and go on in SEC."""
    collector = Collector()
    collector.follow(SEC)
    play(collector, ("enter", SEC), right(), ("enter", PEI), right(), late, right())
    judged = judge_run(finished(collector), collector, judge)
    assert judged.verdict.result("no-access-outside-x2apic").status is Status.VIOLATED
    assert (len(judged.timeline.accesses), judged.after) == (3, 1)
    assert judged.note == "code of a phase before PEI, or of none, ran after the goal: it is judged, too"


def search(until: Until, *printed: str, phase: Phase = DXE) -> list[tuple[str, str, int]]:
    """What a console shows that prints these texts, each searched by itself."""
    found: list[tuple[str, str, int]] = []
    text: ConsoleText
    text = ConsoleText(
        wanted_texts(until),
        lambda name, match: found.append((name, match, text.behind)),
        lambda name: name == "goal" or phase >= DXE,
    )
    for part in printed:
        for byte in part.encode():
            text.add(byte)
        text.search()
    return found


def test_the_console_shows_a_text_at_its_last_byte() -> None:
    assert search("shell", "\x1b[2J" + BOOT + "Shell> ls") == [("bds", BOOT[:-1], 10), ("prompt", "Shell> ", 2)]


@given(st.lists(st.sampled_from(["BdsDxe: No bootable option", "\r\n", "Sh", "ell", "> ", "é", BOOT]), max_size=12))
def test_how_the_console_is_read_does_not_matter(parts: list[str]) -> None:
    whole = search(re.compile("l> |é"), "".join(parts))
    assert [(name, text) for name, text, _ in whole] == [
        (name, text) for name, text, _ in search(re.compile("l> |é"), *parts)
    ]
    assert {name for name, _, _ in whole} == {
        name for name, pattern in (("bds", BDS_LINE), ("prompt", PROMPT), ("goal", "l> |é"))
        if re.search(pattern, "".join(parts))
    }  # fmt: skip


def test_a_prompt_that_sec_prints_is_passed_over() -> None:
    """A goal that the user names counts from the start; it is reached once SEC is over."""
    assert search("shell", "Shell> ", BOOT, phase=SEC) == []
    assert search(re.compile("> "), "Shell> ", phase=SEC) == [("goal", "> ", 0)]
    offence = cut("shell", ("enter", SEC), ("show", ("prompt", "Shell>")), wrong(), ("enter", DXE), right())
    assert len(offence.accesses) == 2
