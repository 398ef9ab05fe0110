# SPDX-License-Identifier: GPL-2.0-or-later
"""Timelines with any values, for Hypothesis."""

from __future__ import annotations

from hypothesis import strategies as st

from snp_harness.apic import jsonfield
from snp_harness.apic.access import Access, Operation, Outcome, Path, Phase, Server
from snp_harness.apic.apic_base import ApicMode
from snp_harness.apic.registers import by_msr, by_offset
from snp_harness.apic.timeline import Event, PhaseMark, Timeline

u64 = st.integers(0, jsonfield.U64_MAX)
times = st.none() | st.integers(0, jsonfield.TIME_MAX)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
registers = st.integers(0, 0xFFF).map(by_offset) | st.integers(0, 0xFFFF_FFFF).map(by_msr)


@st.composite
def timelines(draw: st.DrawFn) -> Timeline:
    accesses = [
        Access(
            index,
            draw(st.sampled_from(Operation)),
            draw(registers),
            draw(st.sampled_from(Path)),
            draw(st.none() | u64),
            draw(st.none() | st.integers(0, 8)),
            draw(st.none() | st.integers(0, 300)),
            draw(st.none() | st.integers(0, 3)),
            draw(st.none() | st.sampled_from(ApicMode)),
            draw(st.sampled_from(Outcome)),
            draw(st.sampled_from(Server)),
            draw(st.sampled_from(Phase)),
            draw(st.none() | u64),
            draw(st.none() | texts),
            draw(st.none() | u64),
            draw(times),
        )
        for index in range(draw(st.integers(0, 4)))
    ]
    marks = st.builds(PhaseMark, st.sampled_from(Phase), st.integers(0, 9), times, texts)
    fields = st.dictionaries(texts, u64 | texts, max_size=3)
    events = st.builds(Event, texts, times, st.none() | st.integers(0, 9), texts, fields)
    return Timeline(
        tuple(accesses),
        tuple(draw(st.lists(marks, max_size=4))),
        tuple(draw(st.lists(events, max_size=4))),
        draw(texts),
        draw(texts),
        draw(st.booleans()),
        tuple(draw(st.lists(texts, max_size=3))),
        frozenset(draw(st.lists(texts, max_size=3))),
        draw(st.sampled_from(Phase)),
        draw(st.booleans()),
        draw(st.booleans()),
        draw(u64),
        draw(st.booleans()),
        tuple(draw(st.lists(texts, max_size=3))),
    )
