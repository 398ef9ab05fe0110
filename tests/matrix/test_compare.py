# SPDX-License-Identifier: GPL-2.0-or-later
"""What changed in a cell since the last matrix."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from snp_harness.apic.timeline import Timeline
from snp_harness.matrix.cell import NOT_RUN, Cell
from snp_harness.matrix.compare import Change, Trend, change, without_injection
from snp_harness.vm import rundir
from tests.apic.samples import READ, fixed_sec, stock_sec, timeline, xapic
from tests.matrix.samples import RULE, cell

OFFENCE, OTHER = (f"{RULE}: write {register} by SecMain in SEC" for register in ("SVR 0F0", "Timer LVT 320"))


def changed(before: Cell, after: Cell) -> Change:
    return change(before, after, Path("/nonexistent"), None)


@pytest.mark.parametrize(
    ("before", "after", "trend", "said"),
    [
        (cell(), cell(), Trend.SAME, ""),
        (cell(), cell("violated", offences=(OFFENCE,)), Trend.WORSE, "verdict holds -> violated"),
        (cell("violated", offences=(OFFENCE,)), cell(), Trend.BETTER, "verdict violated -> holds"),
        (cell("does not apply"), cell(), Trend.CHANGED, "verdict does not apply -> holds"),
        (cell(), cell("inconclusive"), Trend.WORSE, "verdict holds -> inconclusive"),
        (cell(), cell("violated"), Trend.WORSE, "verdict holds -> violated"),
        (cell("inconclusive"), cell("violated", offences=(OFFENCE,)), Trend.WORSE, "verdict inconclusive -> violated"),
        (cell(), cell(NOT_RUN, error="no QEMU"), Trend.WORSE, "verdict holds -> not run"),
        (cell(), cell(error="QEMU died"), Trend.WORSE, "error none -> QEMU died"),
        (cell("violated", offences=(OFFENCE,)), cell("violated", offences=(OFFENCE, OTHER)), Trend.WORSE, OTHER),
        (cell("violated", offences=(OFFENCE, OTHER)), cell("violated", offences=(OFFENCE,)), Trend.BETTER, OTHER),
        # One went, another came: that is a new fault.
        (cell("violated", offences=(OFFENCE,)), cell("violated", offences=(OTHER,)), Trend.WORSE, OTHER),
        (cell(), cell(rules=((RULE, "does not apply"),)), Trend.CHANGED, f"{RULE} holds -> does not apply"),
        (cell(), cell(rules=((RULE, "inconclusive"),)), Trend.CHANGED, f"{RULE} holds -> inconclusive"),
    ],
)
def test_verdicts_and_offences(before: Cell, after: Cell, trend: Trend, said: str) -> None:
    found = changed(before, after)
    assert found.trend is trend
    assert said in "; ".join(found.sentences)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (1.0, 1.9, ""),
        (0.4, 1.3, ""),
        (1.0, 2.1, "slower: 1.0 s -> 2.1 s"),
        (9.0, 4.0, "faster: 9.0 s -> 4.0 s"),
        (0.0, 5.0, ""),
    ],
)
def test_classes_of_time(before: float, after: float, said: str) -> None:
    found = changed(cell(seconds=before), cell(seconds=after))
    assert ", ".join(found.sentences) == said
    assert found.trend is (Trend.CHANGED if said else Trend.SAME)


def test_accesses(tmp_path: Path) -> None:
    (tmp_path / rundir.TIMELINE).write_text(timeline(stock_sec()).to_jsonl())
    assert change(cell(), cell(), tmp_path, timeline(stock_sec())) == Change(Trend.SAME)
    found = change(cell(), cell(), tmp_path, timeline(fixed_sec()))
    assert found == Change(Trend.CHANGED, ("accesses: 2 came, 7 changed, 1 the same",), accesses=True)


def test_the_accesses_without_alternate_injection() -> None:
    stock = timeline([xapic(READ, 0x0F0)], alternate_injection=False)
    assert without_injection(stock, stock, "stock") == ""
    fixed = timeline([xapic(READ, 0x0F0), xapic(READ, 0x300)], alternate_injection=False)
    assert without_injection(stock, fixed, "stock").startswith("other accesses than stock: accesses: 1 came, ")
    with_it: Timeline = timeline([xapic(READ, 0x0F0)])
    assert without_injection(with_it, fixed, "stock") == ""
    assert "cannot be compared" in without_injection(stock, dataclasses.replace(stock, complete=False), "stock")
