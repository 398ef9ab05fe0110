# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snp_harness.apic.access import ACCESS_KEYS, Operation, Path, Phase
from snp_harness.apic.timeline import LINE_MAX, NO_END, Event, Timeline, TimelineError, bounded_lines
from tests.apic import samples
from tests.apic.strategies import timelines


@settings(max_examples=50)
@given(timelines())
def test_round_trip(timeline: Timeline) -> None:
    text = timeline.to_jsonl()
    assert text.isascii()
    assert Timeline.from_jsonl(text) == timeline
    assert Timeline.from_jsonl(timeline.lines()) == timeline


@settings(max_examples=50)
@given(timelines(), st.data())
def test_a_file_cut_anywhere_is_refused_or_reads_as_incomplete(timeline: Timeline, data: st.DataObject) -> None:
    text = timeline.to_jsonl()
    kept = data.draw(st.integers(0, len(text) - 2))
    try:
        read = Timeline.from_jsonl(text[:kept])
    except TimelineError:
        assert "\n" not in text[:kept]  # not even the header is there
    else:
        assert not read.complete
        assert read.gaps == (NO_END,)
        assert read.accesses == timeline.accesses[: len(read.accesses)]


@settings(max_examples=50)
@given(timelines(), st.data())
def test_a_changed_character_is_refused_or_gives_a_timeline(timeline: Timeline, data: st.DataObject) -> None:
    text = timeline.to_jsonl()
    at = data.draw(st.integers(0, len(text) - 1))
    changed = text[:at] + data.draw(st.characters()) + text[at + 1 :]
    refused = None
    try:
        read = Timeline.from_jsonl(changed)
    except TimelineError as error:
        refused = str(error)
    if refused is None:
        assert Timeline.from_jsonl(read.to_jsonl()) == read
    else:
        assert refused.isascii()
        assert "\n" not in refused
        assert len(refused) < 1000


@given(st.text() | st.binary().map(lambda data: data.decode("latin-1")))
def test_any_text_is_refused(text: str) -> None:
    with pytest.raises(TimelineError):
        Timeline.from_jsonl(text)


def _stock() -> Timeline:
    return samples.timeline(samples.stock_sec(), alternate_injection=False, apic_protocol=False)


def _lines() -> list[str]:
    return list(_stock().lines())


def _with(line: int, change: dict[str, Any]) -> list[str]:
    """The sample's lines with fields of one replaced; None as the value of "del" removes them."""
    lines = _lines()
    ((kind, data),) = json.loads(lines[line]).items()
    lines[line] = json.dumps({kind: {**data, **change}}) + "\n"
    return lines


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "line 0: no header line"),
        (_lines()[1:], "line 1: the header must be the first line"),
        (_with(0, {"version": 2}), "line 1: not snp-harness-timeline version 1"),
        (_with(0, {"witness": 3}), '"witness" is 3, not a string'),
        (_with(0, {"more": 3}), "unknown field 'more'"),
        (_with(0, {"not_observed": "pc"}), '"not_observed" is not a list'),
        (_with(0, {"not_observed": ["x"] * 300}), "at most 256"),
        (_with(0, {"faults": "busy"}), '"faults" is not a list'),
        (_with(0, {"apic_protocol": 1}), '"apic_protocol" is 1, not true or false'),
        (_with(2, {"index": 1}), "line 3: access 1 where 0 is due"),
        (_with(2, {"value": 5}), '"value" is 5, not a number such as "0x1ff"'),
        (_with(2, {"value": "0x10000000000000000"}), '"value" is'),
        (_with(2, {"vmpl": 4}), '"vmpl" is 4, not an integer of 0..3'),
        (_with(2, {"vcpu": True}), '"vcpu" is True'),
        (_with(2, {"time_ns": 1.5}), '"time_ns" is 1.5'),
        (_with(2, {"outcome": "fine"}), "\"outcome\" is 'fine', not one of ok, #GP"),
        (_with(2, {"phase": "sec"}), "\"phase\" is 'sec', not one of RESET, SEC"),
        (_with(2, {"register": "SVR"}), "expected 'APIC_BASE'"),
        (_with(2, {"offset": None, "msr": None}), "both null"),
        (_with(2, {"module": "x" * 5000}), "longer than 4096"),
        (_with(2, {"module": "\ud800"}), "lone surrogate"),
        ([*_lines(), _lines()[2]], "a line after the end line"),
        ([_lines()[0], "{}\n"], "line 2: not an object with one entry"),
        ([_lines()[0], '{"access": 3}\n'], "line 2: 'access' is not an object"),
        ([_lines()[0], '{"other": {}}\n'], "line 2: unknown entry 'other'"),
        ([_lines()[0], '{"event": {"kind": NaN}}\n'], "line 2: not JSON"),
        ([_lines()[0], '{"event": ' + "[" * 30000 + "\n"], "line 2: not JSON"),
        ([_lines()[0], " " * (LINE_MAX + 1)], "line 2: longer than 65536 characters"),
        ([_lines()[0], "\n"], "line 2: not JSON"),
    ],
)
def test_what_is_wrong_is_named(lines: list[str], message: str) -> None:
    with pytest.raises(TimelineError) as caught:
        Timeline.from_jsonl(lines, "t.jsonl")
    assert str(caught.value).startswith("t.jsonl, line ")
    assert message in str(caught.value)


def test_no_end_line_means_incomplete() -> None:
    read = Timeline.from_jsonl(_lines()[:-1])
    assert (read.complete, read.gaps, read.reached) == (False, (NO_END,), Phase.PEI)
    assert len(read.accesses) == 14


def test_lines_are_in_the_order_of_the_run() -> None:
    event = Event("rmp-violation", 500, 0, "private access", {"gpa": 0xFEE00000})
    last = Event("end", None, None, "stopped", {})
    access = samples.xapic(Operation.READ, 0xF0)
    timeline = samples.timeline([access], events=(event, last), alternate_injection=False)
    kinds = [next(iter(json.loads(line))) for line in timeline.lines()]
    assert kinds == ["timeline", "phase", "event", "access", "phase", "event", "end"]


def test_a_file_from_before_alternate_injection_was_served_reads_as_one() -> None:
    lines = _lines()
    header = json.loads(lines[0])
    del header["timeline"]["apic_protocol"], header["timeline"]["faults"]
    read = Timeline.from_jsonl([json.dumps(header) + "\n", *lines[1:]])
    assert (read.apic_protocol, read.faults) == (False, ())
    assert read == _stock()


def test_an_endless_line_is_not_read_whole() -> None:
    pieces = list(bounded_lines(io.StringIO("x" * (3 * LINE_MAX))))
    assert max(map(len, pieces)) == LINE_MAX + 1


def test_access_json() -> None:
    data = samples.xapic(Operation.WRITE, 0x380, 0xFFFFFFFF).to_json()
    assert set(data) == ACCESS_KEYS
    assert (data["register"], data["offset"], data["msr"]) == ("Timer Initial Count", "0x380", "0x838")
    assert (data["value"], data["path"], data["mode"], data["phase"]) == ("0xffffffff", "mmio", "xAPIC", "SEC")


def test_number_is_the_one_of_the_path() -> None:
    assert samples.xapic(Operation.READ, 0x0F0).number == 0x0F0
    assert samples.x2apic(Operation.READ, 0x80F).number == 0x80F
    assert samples.base(Operation.READ, 0, None, path=Path.UNKNOWN).number == 0x1B
