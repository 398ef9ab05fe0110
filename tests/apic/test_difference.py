# SPDX-License-Identifier: GPL-2.0-or-later
"""What differs between two timelines: aligned by vCPU, module and order."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snp_harness.apic.access import Access, Outcome, Path, Phase, Server
from snp_harness.apic.apic_base import ApicMode
from snp_harness.apic.difference import Difference, Kind, difference
from snp_harness.apic.event_kinds import CONDENSED, UNANSWERED_CALL
from snp_harness.apic.timeline import Event, Known, PhaseMark, Timeline
from tests.apic.samples import READ, WRITE, base, fixed_sec, stock_sec, timeline, x2apic, xapic

SVR, ICR, TPR = (READ, 0x0F0), (READ, 0x300), (READ, 0x080)


def kinds(found: Difference) -> str:
    """The entries as signs: "=" the same, "+" came, "-" went, "~" changed."""
    signs = {Kind.SAME: "=", Kind.CAME: "+", Kind.WENT: "-", Kind.CHANGED: "~"}
    return "".join(signs[entry.kind] for entry in found.entries)


def test_what_every_build_moves_is_not_compared() -> None:
    one = timeline([xapic(*SVR, pc=0x1000, module_offset=1, time_ns=5), xapic(*TPR, pc=0x1010, time_ns=9)])
    moved = timeline([xapic(*SVR, pc=0x2000, module_offset=2, time_ns=6), xapic(*TPR, pc=0x2010, time_ns=8)])
    found = difference(one, moved)
    assert found.empty
    assert kinds(found) == "=="
    assert found.doubts == ()
    assert found.not_compared == ()


def test_an_access_that_comes_changes_no_other() -> None:
    one = timeline([xapic(*SVR), xapic(*TPR)])
    more = timeline([xapic(*SVR), xapic(*ICR), xapic(*TPR)])
    assert kinds(difference(one, more)) == "=+="
    assert kinds(difference(more, one)) == "=-="
    # Of the same register, too.
    writes = [xapic(WRITE, 0x300, value) for value in (1, 2, 3)]
    assert kinds(difference(timeline(writes), timeline([xapic(WRITE, 0x300, 0), *writes]))) == "+==="


def test_another_value_of_the_same_access_is_a_change() -> None:
    found = difference(timeline([xapic(WRITE, 0x0F0, 0x1FF)]), timeline([xapic(WRITE, 0x0F0, 0x10F)]))
    (entry,) = found.entries
    assert (entry.kind, entry.fields) == (Kind.CHANGED, ("value",))
    assert not found.empty


def test_the_fix_of_sec_is_the_same_accesses_by_another_path() -> None:
    found = difference(timeline(stock_sec()), timeline(fixed_sec()))
    assert kinds(found) == "=++" + "~" * 7
    assert {entry.fields for entry in found.of_kind(Kind.CHANGED)} == {("path", "mode")}
    assert [entry.access.register.name for entry in found.of_kind(Kind.CAME)] == ["APIC_BASE", "APIC_BASE"]


def test_modules_and_vcpus_are_aligned_by_themselves() -> None:
    """That two of them do what they do in another order is chance, or what every change of a build does."""
    first = [xapic(*SVR, module=module, vcpu=vcpu) for module in ("A", "B") for vcpu in (0, 1)]
    assert difference(timeline(first), timeline(first[::-1])).empty
    renamed = [dataclasses.replace(access, module="C") for access in first]
    assert kinds(difference(timeline(first), timeline(renamed))) == "----++++"


def test_ticks_of_a_timer_are_compared_by_their_kind() -> None:
    eoi, read_base = xapic(WRITE, 0x0B0), base(READ, 0xFEE00900, ApicMode.XAPIC)
    few, many = (timeline([xapic(*SVR), *[read_base, eoi] * count, xapic(*TPR), read_base]) for count in (1, 3))
    assert difference(few, many).empty
    moved = timeline([xapic(*SVR), read_base, eoi, xapic(*TPR), x2apic(WRITE, 0x80B, mode=ApicMode.XAPIC)])
    found = difference(few, moved)
    assert [entry.access.path for entry in found.of_kind(Kind.CAME)] == [Path.MSR]
    # The first tick comes before or after another access, and in any phase: chance.
    early = timeline([xapic(*SVR), read_base, read_base, eoi, read_base, xapic(*TPR), read_base, eoi])
    late = timeline(
        [xapic(*SVR), read_base, xapic(*TPR), read_base, read_base, dataclasses.replace(eoi, phase=Phase.PEI)]
    )
    assert difference(early, late).empty
    # The end of the run cuts off the last one.
    cut = dataclasses.replace(eoi, outcome=Outcome.NOT_OBSERVED, served_by=Server.NOT_OBSERVED, path=Path.UNKNOWN)
    assert difference(few, timeline([*few.accesses, cut])).empty
    assert not difference(timeline([xapic(*SVR)]), timeline([xapic(*SVR), cut])).empty


def test_reads_of_apic_base_count_once_after_each_write_of_the_vcpu() -> None:
    read, written = base(READ, 0xFEE00900, ApicMode.XAPIC), base(READ, 0xFEE00D00, ApicMode.X2APIC)
    write = base(WRITE, 0xFEE00D00, ApicMode.XAPIC)
    found = difference(timeline([read, write, written, read]), timeline([read, read, write, written, written]))
    assert kinds(found) == "===-"
    other = dataclasses.replace(write, vcpu=1)
    assert difference(timeline([read, other, read]), timeline([read, other])).empty


#: A value of each field that a witness may not observe, and what stands for "not observed".
UNSEEN: list[tuple[str, Any]] = [
    ("value", None),
    ("size", None),
    ("vmpl", None),
    ("mode", None),
    ("vcpu", None),
    ("module", None),
    ("path", Path.UNKNOWN),
    ("outcome", Outcome.NOT_OBSERVED),
    ("served_by", Server.NOT_OBSERVED),
    ("phase", Phase.UNKNOWN),
]


@pytest.mark.parametrize(("field", "unseen"), UNSEEN)
def test_what_one_run_did_not_observe_is_no_change_but_is_named(field: str, unseen: Any) -> None:
    accesses = [xapic(*SVR), xapic(WRITE, 0x0F0, 0x63), xapic(*TPR)]
    blind = [dataclasses.replace(access, **{field: unseen}) for access in accesses]
    found = difference(timeline(accesses), timeline(blind))
    assert found.not_compared == (field,)
    assert kinds(found) == "==="


def test_a_value_that_is_a_number_of_a_phase_is_observed() -> None:
    """Phase.UNKNOWN is 99, and equal to that number."""
    assert kinds(difference(timeline([xapic(*SVR, 99)]), timeline([xapic(*SVR, 98)]))) == "~"


def test_phases_and_events_are_compared_by_name() -> None:
    one = timeline([xapic(*SVR)], events=(Event("guest-stuck", 1, 0, "", {}), Event(UNANSWERED_CALL, 2, 0, "", {})))
    marks = (*one.phases, PhaseMark(Phase.DXE, 1, 9, "", Known.PROVEN))
    other = dataclasses.replace(timeline([xapic(*SVR)]), phases=marks)
    found = difference(one, other)
    assert (found.phases_came, found.phases_went) == (("DXE",), ())
    assert (found.events_came, found.events_went) == ((), ("guest-stuck",))
    assert not found.empty


def test_how_far_a_run_came_after_its_goal_is_chance() -> None:
    """A run until PEI ends somewhere in DXE."""
    marks = [PhaseMark(Phase.PEI, 0, 10, ""), PhaseMark(Phase.DXE, 1, 50, "")]
    pei, dxe = xapic(*SVR, phase=Phase.PEI), xapic(*TPR, phase=Phase.DXE)
    late = Event("guest-stuck", 60, 0, "", {})
    one = timeline([pei], phases=marks[:1], until="pei")
    further = timeline([pei, dxe], phases=marks, until="pei", events=(late,))
    assert difference(one, further).empty
    assert difference(one, further).doubts == ()
    # An access of a phase that nobody knows may be of PEI.
    unknown = dataclasses.replace(dxe, phase=Phase.UNKNOWN)
    assert kinds(difference(one, timeline([pei, unknown], phases=marks, until="pei"))) == "=+"
    # Where the goal is not a phase, all of it was asked for.
    for until in ("shell", "exit", ""):
        whole = [dataclasses.replace(seen, until=until) for seen in (one, further)]
        assert kinds(difference(*whole)) == "=+"
        assert difference(*whole).events_came == ("guest-stuck",)


def test_runs_with_two_goals_are_compared_to_the_earlier_one() -> None:
    sec, pei = xapic(*SVR), xapic(*TPR, phase=Phase.PEI)
    found = difference(timeline([sec], until="sec"), timeline([sec, pei], until="pei"))
    assert found.empty
    assert found.doubts == ("the runs are until sec and pei: what follows the earlier one is not compared",)


def test_a_run_that_was_not_seen_whole_leaves_a_doubt() -> None:
    one = timeline([xapic(*SVR)])
    cut = dataclasses.replace(one, complete=False, gaps=("the run was ended",))
    assert difference(one, cut).doubts == ("the second run was not seen whole: the run was ended",)
    condensed = dataclasses.replace(one, events=(Event(CONDENSED, None, None, "9 are counted", {"accesses": 9}),))
    assert difference(condensed, one).doubts == ("the first run: 9 are counted",)


def test_nothing_is_compared_with_nothing() -> None:
    assert difference(timeline(), timeline()).empty
    assert kinds(difference(timeline(), timeline([xapic(*SVR)]))) == "+"


ACCESSES = st.lists(
    st.builds(
        lambda direction, offset, value, module: xapic(direction, offset, value, module=module),
        st.sampled_from([READ, WRITE]),
        st.sampled_from([0x080, 0x0F0, 0x300]),
        st.sampled_from([0, 1, None]),
        st.sampled_from(["A", "B"]),
    ),
    max_size=8,
)


def ordered(found: Difference, side: str) -> list[Access]:
    return [access for entry in found.entries if (access := getattr(entry, side)) is not None]


@given(ACCESSES, ACCESSES)
def test_each_access_is_in_one_entry_and_keeps_its_order(old: Sequence[Access], new: Sequence[Access]) -> None:
    one, other = timeline(old), timeline(new)
    found = difference(one, other)
    for side, seen in (("before", one), ("after", other)):
        for module in ("A", "B"):
            wanted = [access for access in seen.accesses if access.module == module]
            assert [access for access in ordered(found, side) if access.module == module] == wanted
    for entry in found.entries:
        if entry.before is not None and entry.after is not None:
            assert entry.before.register == entry.after.register
            assert entry.before.operation is entry.after.operation
    assert difference(one, one).empty


@pytest.mark.parametrize("changed", [slice(0, 1), slice(20000, 20100), slice(0, None, 100), slice(0, None, 2)])
def test_long_timelines_are_compared_in_seconds(changed: slice) -> None:
    """Most accesses of a long run are alike."""
    access = xapic(WRITE, 0x300, 0)
    one = [dataclasses.replace(access, value=number % 7) for number in range(40000)]
    other = list(one)
    del other[changed]
    started = time.process_time()
    found = difference(long_timeline(one), long_timeline(other))
    assert time.process_time() - started < 20
    assert len(found.of_kind(Kind.SAME)) > 0


def long_timeline(accesses: Sequence[Access]) -> Timeline:
    return dataclasses.replace(timeline(), accesses=tuple(accesses))
