# SPDX-License-Identifier: GPL-2.0-or-later
"""The page of a matrix in a browser: its links, its filter, and whether everybody can use it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from snp_harness.matrix.cell import Outcome
from snp_harness.matrix.compare import Change, Trend
from snp_harness.matrix.page import page_name, render_page
from tests.matrix.samples import cell, matrix, place
from tests.report.browser import AXE_FAULTS, axe, look

pytestmark = pytest.mark.slow

CELLS = (
    cell(where=place("fixed")),
    cell("violated", outcome=Outcome.UNEXPECTED, missed=("<b>violated</b>",)),
    cell("inconclusive", place("fixed", "fault-busy"), outcome=Outcome.INCONCLUSIVE, missed=("cut off",)),
    cell("does not apply", place("fixed", "no-svsm")),
    cell("not run", place("fixed", "two-witnesses"), outcome=Outcome.NO_ANSWER, error="no QEMU"),
)
PAGE = render_page(
    matrix(*CELLS, last=Path("/last/one"), changes={CELLS[1].place: Change(Trend.WORSE, ("x",), accesses=True)}),
    frozenset({page_name(CELLS[1]), page_name(CELLS[1], "diff")}),
)


@pytest.mark.parametrize("dark", [False, True])
def test_axe_finds_no_fault(tmp_path: Path, dark: bool) -> None:
    found: Any = look(
        PAGE, AXE_FAULTS + "return { faults, passes: seen.passes.length };", tmp_path, libraries=(axe(),), dark=dark
    )
    assert found["faults"] == []
    assert found["errors"] == []
    assert found["passes"] > 15


def test_cells_are_found_and_lead_to_their_runs(tmp_path: Path) -> None:
    found = look(
        PAGE,
        """
        const rows = () => [...document.querySelectorAll("#list tbody tr")].filter((r) => !r.hidden).length;
        const all = rows();
        const outcome = document.getElementById("outcome");
        outcome.value = "unexpected";
        outcome.dispatchEvent(new Event("input", { bubbles: true }));
        const links = [...document.querySelectorAll("#list a")].map((a) => a.getAttribute("href"));
        return { all, unexpected: rows(), links, bold: document.querySelectorAll("#list b").length };
        """,
        tmp_path,
    )
    assert found == {
        "all": 5,
        "unexpected": 1,
        "links": ["pages/run-stock,plain,emulated,1.html", "pages/diff-stock,plain,emulated,1.html"],
        "bold": 0,
        "errors": [],
    }
