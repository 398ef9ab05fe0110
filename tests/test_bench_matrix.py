# SPDX-License-Identifier: GPL-2.0-or-later
"""What the nightly matrix calls an error."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from bench.matrix import CELLS, FIXED, RULE, STOCK, TABLE, Cell, compare, conclusion, main, missed_of, table
from snp_harness.apic.verdict import RuleResult, Status, Verdict
from snp_harness.errors import BrokenEnvironmentError
from snp_harness.firmware_run import RunResult
from snp_harness.svsm.config import DEFAULT_CONFIG
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
        (FIXED, "fault-busy", Status.VIOLATED, True),
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
    assert said.startswith("other than stock's: accesses: 1 came, ")
    with_it = timeline([xapic(READ, 0x0F0)])
    assert compare(with_it, fixed) == ()
    (said,) = compare(stock, replace(stock, complete=False))
    assert "cannot be compared" in said


def test_a_firmware_that_cannot_be_run_does_not_end_the_matrix(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"no firmware")
    arguments = ["--stock", str(tmp_path / "a"), "--fixed", str(tmp_path / "a"), "--out", str(tmp_path / "out")]
    assert main([*arguments, "--config", DEFAULT_CONFIG, "--config", "plain"]) == 128
    cells = json.loads((tmp_path / "out" / CELLS).read_text())
    assert [(cell["configuration"], cell["verdict"]) for cell in cells] == [
        (configuration, "not run") for configuration in (DEFAULT_CONFIG, DEFAULT_CONFIG, "plain", "plain")
    ]
    assert "not hardware" in (tmp_path / "out" / TABLE).read_text()


def test_a_run_that_broke_is_no_success(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is inconclusive: the firmware is not to blame, and neither has it passed."""
    broke = result(Status.INCONCLUSIVE, BrokenEnvironmentError("QEMU died"))
    monkeypatch.setattr("bench.matrix.run", lambda *_: broke)
    arguments = ["--stock", "a", "--fixed", "b", "--out", str(tmp_path / "out"), "--config", "plain"]
    assert main(arguments) == 128
    assert "2 of 2 runs say nothing, first stock under plain: QEMU died" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("cell", "status", "said"),
    [
        (Cell(FIXED, "x", "holds", {}, "BDS", 1, 1.0), 0, "2 runs, all as they must be"),
        (Cell(FIXED, "x", "violated", {}, "BDS", 1, 1.0, missed=("it broke",)), 1, "1 of 2 runs are not as they must"),
        (Cell(FIXED, "x", "not run", {}, "", 0, 0.0, "no", broken=True), 128, "1 of 2 runs say nothing, first fixed"),
        (Cell(FIXED, "x", "inconclusive", {}, "RESET", 0, 0.0, "its configuration"), 0, "2 runs, all"),
    ],
)
def test_the_matrix_ends_with_a_statement(cell: Cell, status: int, said: str) -> None:
    text, found = conclusion([Cell(STOCK, "x", "violated", {}, "BDS", 1, 1.0), cell])
    assert found == status
    assert text.startswith(said)


def test_the_whole_contract_must_hold_in_the_default_configuration() -> None:
    verdict = Verdict(Status.VIOLATED, (RuleResult(RULE, Status.HOLDS, "why"),), "emulated", "w", "o", frozenset())
    found = RunResult(verdict, timeline(), Path(), None)
    (said,) = missed_of(FIXED, DEFAULT_CONFIG, found)
    assert said.startswith("the contract is violated: violated: ")
    found = replace(found, verdict=replace(verdict, status=Status.NOT_APPLICABLE))
    assert missed_of(FIXED, DEFAULT_CONFIG, found) == ("the contract is does not apply, not holds",)
    assert missed_of(FIXED, "policy-x2apic-at-reset", found) == ()


@pytest.mark.parametrize("firmware", [STOCK, FIXED])
@pytest.mark.parametrize(("status", "missed"), [(Status.NOT_APPLICABLE, False), (Status.VIOLATED, True)])
def test_without_alternate_injection_the_contract_does_not_apply(firmware: str, status: Status, missed: bool) -> None:
    assert bool(missed_of(firmware, "plain", result(status), active=False)) is missed


def test_the_table_names_what_was_missed() -> None:
    text = table([Cell(FIXED, "x", "violated", {RULE: "violated"}, "PEI", 7, 1.0, missed=("it broke",))])
    assert text.splitlines()[-1] == "| fixed | x | violated | violated | PEI | 7 | 1.0 | it broke |"


def test_the_workflow_runs_the_make_target_and_keeps_what_it_makes() -> None:
    root = Path(__file__).parents[1]
    steps = (root / ".github" / "workflows" / "nightly.yml").read_text()
    assert "\n      - run: make nightly\n" in steps
    (recipe,) = re.findall(r"^nightly:.*\n((?:\t.*\n)+)", (root / "Makefile").read_text(), re.MULTILINE)
    assert "bench.matrix --stock build/firmware/stock/OVMF.fd --fixed build/firmware/fixed/OVMF.fd" in recipe
    for kept in ("build/firmware", "build/nightly", f"build/nightly/{TABLE}"):
        assert kept in steps
