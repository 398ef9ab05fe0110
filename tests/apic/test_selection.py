# SPDX-License-Identifier: GPL-2.0-or-later
"""A part of a timeline, in the order of time, with what repeats itself folded."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from snp_harness.apic.access import Access, Path, Phase, Server
from snp_harness.apic.selection import Repeated, Selection, fold, in_order, registers_named
from snp_harness.apic.timeline import Event, Known, PhaseMark, Timeline
from tests.apic import samples
from tests.apic.samples import READ, WRITE, base, x2apic, xapic
from tests.apic.strategies import timelines

LATE = Event("late", 1500, 0, "an event", {})
TIMELINE = samples.timeline(
    [
        xapic(READ, 0x0F0, time_ns=1000),
        x2apic(WRITE, 0x80B, time_ns=2000, vcpu=1, served_by=Server.SVSM, path=Path.SVSM, phase=Phase.PEI),
        base(READ, 0xFEE00D00, None, time_ns=3000, phase=Phase.PEI),
    ],
    phases=(PhaseMark(Phase.SEC, 0, 500, "", Known.PROVEN), PhaseMark(Phase.PEI, 1, 1800, "", Known.PROVEN)),
    events=(Event("activity", None, None, "", {}), LATE),
    alternate_injection=False,
)


def indexes(**chosen: object) -> list[int]:
    entries = Selection(**chosen).entries(TIMELINE)  # type: ignore[arg-type]
    return [entry.index for entry in entries if isinstance(entry, Access)]


def test_events_are_in_their_place() -> None:
    kinds = [type(entry).__name__ for entry in Selection().entries(TIMELINE)]
    assert kinds == ["PhaseMark", "Access", "Event", "PhaseMark", "Access", "Access", "Event"]


def test_what_is_asked_for() -> None:
    assert indexes() == [0, 1, 2]
    assert indexes(phases=frozenset({Phase.PEI})) == [1, 2]
    assert indexes(vcpus=frozenset({1})) == [1]
    assert indexes(registers=registers_named("svr")) == [0]
    assert indexes(paths=frozenset({Path.MSR})) == [2]
    assert indexes(servers=frozenset({Server.SVSM})) == [1]
    assert indexes(vcpus=frozenset({0}), phases=frozenset({Phase.PEI})) == [2]
    assert indexes(since_ns=2000) == [1, 2]
    assert indexes(since_index=2) == [2]
    assert indexes(since_phase=Phase.PEI) == [1, 2]
    assert indexes(since_phase=Phase.OS) == []


def test_events_go_where_accesses_are_chosen_by_what_they_lack() -> None:
    def events(selection: Selection) -> list[str]:
        return [entry.kind for entry in selection.entries(TIMELINE) if isinstance(entry, Event)]

    assert events(Selection()) == ["late", "activity"]
    assert events(Selection(paths=frozenset({Path.MMIO}))) == []
    assert events(Selection(vcpus=frozenset({0}))) == ["late"]
    assert events(Selection(since_ns=1501)) == []
    assert events(Selection(since_index=1)) == []


@given(timelines())
def test_nothing_is_lost_or_changed_in_order(timeline: Timeline) -> None:
    entries = list(in_order(timeline))
    assert [entry for entry in entries if isinstance(entry, Access)] == list(timeline.accesses)
    assert [entry for entry in entries if isinstance(entry, PhaseMark)] == list(timeline.phases)
    assert len(entries) == len(timeline.accesses) + len(timeline.phases) + len(timeline.events)


def test_ticks_are_folded() -> None:
    tick = [base(READ, 0xFEE00900, None), base(READ, 0xFEE00900, None), xapic(WRITE, 0x0B0)]
    other = xapic(READ, 0x0F0)
    timeline = samples.timeline([other, *tick * 200, other], phases=(), alternate_injection=False)
    entries = list(fold(Selection().entries(timeline)))
    assert [entry.index for entry in entries if isinstance(entry, Access)] == [0, 1, 2, 3, 601]
    [repeated] = (entry for entry in entries if isinstance(entry, Repeated))
    assert (repeated.group, repeated.times, repeated.last.index) == (3, 199, 600)


def test_what_differs_is_not_folded() -> None:
    values = samples.timeline([xapic(WRITE, 0x320, value) for value in range(9)], phases=(), alternate_injection=False)
    assert len(list(fold(Selection().entries(values)))) == 9
    count = samples.timeline([xapic(READ, 0x390, value) for value in range(9)], phases=(), alternate_injection=False)
    assert len(list(fold(Selection().entries(count)))) == 2


@given(st.lists(st.sampled_from([0x0F0, 0x0B0, 0x320]), max_size=60))
def test_a_fold_can_be_undone(offsets: list[int]) -> None:
    timeline = samples.timeline([xapic(READ, offset) for offset in offsets], phases=(), alternate_injection=False)
    unfolded: list[int | None] = []
    for entry in fold(Selection().entries(timeline)):
        if isinstance(entry, Repeated):
            assert entry.last.register.offset == unfolded[-1]
            unfolded += unfolded[-entry.group :] * entry.times
            assert entry.last.index == len(unfolded) - 1
        else:
            assert isinstance(entry, Access)
            unfolded.append(entry.register.offset)
    assert unfolded == offsets


def test_registers_by_name_and_number() -> None:
    def named(text: str) -> set[str]:
        return {register.name for register in registers_named(text)}

    assert named("SVR") == named("svr") == named("0F0") == named("80f") == named("0x80F") == {"SVR"}
    assert named("timer") == {"Timer LVT", "Timer Initial Count", "Timer Current Count", "Timer Divide"}
    assert named("1b") == {"APIC_BASE"}
    assert len(named("isr")) == 8
    assert named("bogus") == named("123456") == set()
