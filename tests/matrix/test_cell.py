# SPDX-License-Identifier: GPL-2.0-or-later
"""A cell as its run directory has it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from snp_harness.apic.access import Outcome, Phase
from snp_harness.apic.timeline import Timeline
from snp_harness.matrix.cell import NOT_RUN, Cell, read_cell
from snp_harness.platforms.svsm_console import NoAlternateInjectionError
from snp_harness.vm import rundir
from tests.apic.samples import READ, fixed_sec, stock_sec, timeline, x2apic
from tests.matrix.samples import RULE, place


def read(directory: Path, seen: Timeline, status: int, message: str = "", refuses: bool = False, **facts: Any) -> Cell:
    (directory / rundir.TIMELINE).write_text(seen.to_jsonl())
    (directory / rundir.ENVIRONMENT).write_text(json.dumps({"seconds": 1.25, **facts}))
    cell, found = read_cell(place(), directory, status, message, refuses=refuses)
    assert found == seen
    return cell


def test_a_run(tmp_path: Path) -> None:
    cell = read(tmp_path, timeline(stock_sec()), 1)
    assert (cell.verdict, cell.reached, cell.accesses, cell.seconds, cell.error) == ("violated", "PEI", 14, 1.2, "")
    assert dict(cell.rules)[RULE] == "violated"
    assert f"{RULE}: write SVR 0F0 by SecMain in SEC" in cell.offences
    assert len(set(cell.offences)) == len(cell.offences)
    assert read(tmp_path, timeline(fixed_sec()), 0).offences == ()


def test_an_offence_in_another_phase(tmp_path: Path) -> None:
    refused = x2apic(READ, 0x80F, outcome=Outcome.GP, phase=Phase.PEI)
    seen = dataclasses.replace(timeline([*fixed_sec(), refused]), until="sec")
    assert read(tmp_path, seen, 1).offences == ("no-refused-access: read SVR 80F by SecMain in PEI",)


@pytest.mark.parametrize(
    ("status", "message", "facts", "error"),
    [
        (0, "", {}, ""),
        (0, "some news", {}, ""),
        (0, "", {"error": "QEMU died"}, "QEMU died"),
        # The run itself did not give this verdict.
        (1, "", {}, "the run ended with exit status 1"),
        (-9, "", {}, "the run ended with exit status -9"),
        (128, "internal error", {}, "internal error"),
    ],
)
def test_an_error(tmp_path: Path, status: int, message: str, facts: dict[str, Any], error: str) -> None:
    cell = read(tmp_path, timeline(fixed_sec()), status, message, **facts)
    assert (cell.verdict, cell.error) == ("holds", error)


def test_a_hypervisor_that_refuses(tmp_path: Path) -> None:
    """With any other configuration, the host lacks what it should have."""
    for refuses in (True, False):
        cell = read(tmp_path, timeline([]), 128, refuses=refuses, error=NoAlternateInjectionError.MESSAGE)
        assert cell.refused is refuses
        assert cell.error == NoAlternateInjectionError.MESSAGE


def test_a_run_that_left_nothing(tmp_path: Path) -> None:
    cell, found = read_cell(place(), tmp_path / "none", 2, "no such image", refuses=False)
    assert (cell.verdict, cell.error, found) == (NOT_RUN, "no such image", None)
    cell, _ = read_cell(place(), tmp_path / "none", 2, "", refuses=False)
    assert cell.error.startswith("cannot read ")


def test_an_expected_error_of_a_damaged_directory(tmp_path: Path) -> None:
    (tmp_path / rundir.TIMELINE).write_text("{}\n")
    cell, found = read_cell(place(), tmp_path, 0, "", refuses=False)
    assert (cell.verdict, found) == (NOT_RUN, None)
    assert cell.error
