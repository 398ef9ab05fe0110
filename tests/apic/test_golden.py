# SPDX-License-Identifier: GPL-2.0-or-later
"""The golden form of a timeline: written, read again and compared."""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snp_harness.apic.access import Phase
from snp_harness.apic.apic_base import ApicMode
from snp_harness.apic.difference import difference
from snp_harness.apic.golden import golden_lines, read_golden
from snp_harness.apic.timeline import LINE_MAX, Timeline, TimelineError
from tests.apic.samples import READ, WRITE, base, fixed_sec, stock_sec, timeline, xapic
from tests.apic.strategies import timelines

STOCK = timeline(stock_sec())


def again(seen: Timeline) -> Timeline:
    return read_golden(list(golden_lines(seen)), "golden")


def test_a_timeline_is_that_of_its_golden_form() -> None:
    for seen in (STOCK, timeline(fixed_sec()), timeline()):
        golden = again(seen)
        found = difference(golden, seen)
        assert found.empty
        assert (found.not_compared, found.doubts) == ((), ())
        assert golden.platform == seen.platform
        assert list(golden_lines(golden)) == list(golden_lines(seen))
    assert not difference(again(STOCK), timeline(fixed_sec())).empty


@given(timelines())
def test_any_timeline_is_that_of_its_golden_form(seen: Timeline) -> None:
    found = difference(again(seen), seen)
    assert found.empty
    assert found.not_compared == ()


def test_what_every_build_and_boot_moves_is_not_in_it() -> None:
    text = "".join(golden_lines(STOCK))
    moved = [dataclasses.replace(access, pc=1, module_offset=2, time_ns=3) for access in STOCK.accesses]
    assert "".join(golden_lines(dataclasses.replace(STOCK, accesses=tuple(moved)))) == text
    header, first, *_ = map(json.loads, text.splitlines())
    assert header == {
        "format": "snp-harness-golden",
        "version": 1,
        "platform": "emulated",
        "until": "",
        "phases": ["SEC", "PEI"],
        "events": ["alternate-injection"],
    }
    assert list(first)[:5] == ["vcpu", "module", "phase", "operation", "register"]


def test_what_follows_the_goal_of_the_run_is_not_in_it() -> None:
    seen = timeline([xapic(READ, 0x0F0), xapic(READ, 0x0F0, phase=Phase.PEI)], until="sec")
    golden = again(seen)
    assert [access.phase for access in golden.accesses] == [Phase.SEC]
    assert [mark.phase for mark in golden.phases] == [Phase.SEC]
    found = difference(golden, seen)
    assert found.empty
    assert found.doubts == ()


def test_how_vcpus_were_scheduled_is_not_in_it() -> None:
    accesses = [xapic(READ, 0x0F0, number, vcpu=number % 3, module="AB"[number // 3 % 2]) for number in range(30)]
    # Each vCPU keeps its order.
    turns = [access.vcpu for access in accesses]
    random.Random(1).shuffle(turns)
    queues = {vcpu: [access for access in accesses if access.vcpu == vcpu] for vcpu in range(3)}
    mixed = [queues[vcpu or 0].pop(0) for vcpu in turns]
    assert mixed != accesses
    assert list(golden_lines(timeline(accesses))) == list(golden_lines(timeline(mixed)))


def test_reads_of_apic_base_fold_in_the_order_of_modules_as_in_that_of_time() -> None:
    read = base(READ, 0xFEE00900, ApicMode.XAPIC)
    write = base(WRITE, 0xFEE00900, ApicMode.XAPIC, module="B")
    seen = timeline([read, write, read, dataclasses.replace(read, module="B")])
    assert difference(again(seen), seen).empty


def header(**fields: Any) -> str:
    return json.dumps({**json.loads(next(golden_lines(STOCK))), **fields}) + "\n"


def access(**fields: Any) -> Callable[[], list[str]]:
    lines = list(golden_lines(STOCK))
    return lambda: [lines[0], json.dumps({**json.loads(lines[1]), **fields}) + "\n"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "golden, line 0: no header line"),
        (["x\n"], "golden, line 1: not JSON"),
        (["[" * 50000 + "\n"], "golden, line 1: not JSON"),
        (["[]\n"], "golden, line 1: not an object"),
        ([" " * (LINE_MAX + 1)], "golden, line 1: longer than"),
        ([header(format="snp-harness-timeline")], "golden, line 1: not snp-harness-golden version 1"),
        ([header(version=2)], "golden, line 1: not snp-harness-golden version 1"),
        ([header(more=1)], "golden, line 1: "),
        ([header(phases=["SEC"] * 300)], 'golden, line 1: "phases" is not a list of at most'),
        ([header(phases=["NONE"])], "golden, line 1: "),
        ([header(events=[1])], "golden, line 1: "),
        (access(index=1)(), "golden, line 2: "),
        (access(register="TPR")(), "golden, line 2: "),
        (access(vmpl=9)(), "golden, line 2: "),
    ],
)
def test_a_file_that_is_not_one(lines: list[str], message: str) -> None:
    with pytest.raises(TimelineError) as error:
        read_golden(lines, "golden")
    assert str(error.value).startswith(message)
    assert str(error.value).endswith("write it again with pytest --snp-update-golden")


@given(st.lists(st.text(max_size=200), max_size=5))
def test_any_text_is_read_or_refused(lines: list[str]) -> None:
    with pytest.raises(TimelineError):
        read_golden(lines, "golden")
