# SPDX-License-Identifier: GPL-2.0-or-later
"""What the nightly matrix calls an error."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.matrix import CELLS, FIXED, RULE, STOCK, TABLE, Cell, compare, main, missed_of, table
from harness.apic.verdict import RuleResult, Status, Verdict
from harness.errors import BrokenEnvironmentError
from harness.run import RunResult
from harness.svsm.config import DEFAULT_CONFIG
from tests.apic.samples import READ, timeline, xapic


def result(status: Status, error: BrokenEnvironmentError | None = None) -> RunResult:
    verdict = Verdict(status, (RuleResult(RULE, status, "why"),), "emulated", "w", "o", frozenset())
    return RunResult(verdict, timeline(), Path(), error)


@pytest.mark.parametrize(
    ("firmware", "configuration", "status", "missed"),
    [
        (FIXED, DEFAULT_CONFIG, Status.HOLDS, False),
        (FIXED, DEFAULT_CONFIG, Status.VIOLATED, True),
        (FIXED, "timer-svsm", Status.INCONCLUSIVE, True),
        (STOCK, DEFAULT_CONFIG, Status.VIOLATED, False),
        (STOCK, DEFAULT_CONFIG, Status.HOLDS, True),
        (STOCK, "policy-x2apic-at-reset", Status.HOLDS, False),
    ],
)
def test_what_must_be_so(firmware: str, configuration: str, status: Status, missed: bool) -> None:
    assert bool(missed_of(firmware, configuration, result(status))) is missed


def test_an_access_that_only_the_fixed_firmware_makes_without_alternate_injection() -> None:
    stock = timeline([xapic(READ, 0x0F0)], alternate_injection=False)
    assert compare(stock, stock) == ()
    fixed = timeline([xapic(READ, 0x0F0), xapic(READ, 0x300)], alternate_injection=False)
    (said,) = compare(stock, fixed)
    assert said.startswith("1 accesses differ from stock's: +SEC SecMain")
    with_it = timeline([xapic(READ, 0x0F0)])
    assert compare(with_it, fixed) == ()


def test_a_firmware_that_cannot_be_run_does_not_end_the_matrix(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"no firmware")
    arguments = ["--stock", str(tmp_path / "a"), "--fixed", str(tmp_path / "a"), "--out", str(tmp_path / "out")]
    assert main([*arguments, "--config", DEFAULT_CONFIG, "--config", "plain"]) == 128
    cells = json.loads((tmp_path / "out" / CELLS).read_text())
    assert [(cell["configuration"], cell["verdict"]) for cell in cells] == [
        (configuration, "not run") for configuration in (DEFAULT_CONFIG, DEFAULT_CONFIG, "plain", "plain")
    ]
    assert "not hardware" in (tmp_path / "out" / TABLE).read_text()


def test_the_table_names_what_was_missed() -> None:
    text = table([Cell(FIXED, "x", "violated", {RULE: "violated"}, "PEI", 7, 1.0, "", ("it broke",))])
    assert text.splitlines()[-1] == "| fixed | x | violated | violated | PEI | 7 | 1.0 | it broke |"
