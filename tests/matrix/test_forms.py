# SPDX-License-Identifier: GPL-2.0-or-later
"""A matrix in its forms, its exit status and its sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from junitparser import JUnitXml

from snp_harness.cli.matrix import FORMS
from snp_harness.errors import UsageError
from snp_harness.matrix.cell import Cell, Outcome
from snp_harness.matrix.compare import Change, Trend
from snp_harness.matrix.forms import FORMATS, render
from snp_harness.matrix.result import FILE, find_last, load
from tests.matrix.samples import RULE, cell, matrix, place
from tests.schemas import check

FINE = cell()
WRONG = cell(
    "violated",
    place("fixed"),
    outcome=Outcome.UNEXPECTED,
    missed=("violated: why, expected is ok",),
    offences=("a", "b"),
)
UNSEEN = cell("inconclusive", place("fixed", "fault-busy"), outcome=Outcome.INCONCLUSIVE, missed=("it is cut off",))
BROKEN = cell("not run", place("fixed", "no-svsm"), outcome=Outcome.NO_ANSWER, error="QEMU <died>", rules=())


def since(**trends: Trend) -> dict[str, Any]:
    cells = {"fine": FINE, "wrong": WRONG, "unseen": UNSEEN, "broken": BROKEN}
    changes = {cells[name].place: Change(trend, ("verdict",)) for name, trend in trends.items()}
    return {"last": Path("/last/one"), "changes": changes}


@pytest.mark.parametrize(
    ("cells", "fields", "status", "said"),
    [
        ((FINE,), {}, 0, "1 cell, all as expected"),
        (
            (FINE, WRONG),
            {},
            1,
            "2 cells, 1 not as expected; first fixed/plain/emulated/1: violated: why, expected is ok",
        ),
        ((FINE, UNSEEN), {}, 3, "2 cells, 1 inconclusive; first fixed/fault-busy/emulated/1: it is cut off"),
        ((FINE, BROKEN), {}, 128, "2 cells, 1 without an answer; first fixed/no-svsm/emulated/1: QEMU <died>"),
        (
            (UNSEEN, BROKEN, WRONG),
            {},
            1,
            "3 cells, 1 not as expected, 1 without an answer, 1 inconclusive; first fixed/pl",
        ),
        ((FINE,), {"planned": 3}, 128, "1 of 3 cells, all as expected"),
        ((FINE,), since(fine=Trend.SAME), 0, "1 cell, all as expected; since one: nothing changed"),
        (
            (FINE,),
            since(fine=Trend.WORSE),
            1,
            "1 cell, all as expected; since one: 1 worse; first stock/plain/emulated/1",
        ),
        ((FINE, WRONG), since(fine=Trend.SAME, wrong=Trend.SAME), 1, "2 cells, 1 not as expected; since one: nothing"),
        (
            (FINE, WRONG),
            since(fine=Trend.BETTER, wrong=Trend.SAME) | {"by_change": True},
            0,
            "2 cells, 1 not as expected, as the last time; since one: 1 better",
        ),
        # What is new, or has no answer, is not as it was.
        ((WRONG,), since() | {"by_change": True}, 1, "1 cell, 1 not as expected; since one: 1 new; first fixed/plain"),
        (
            (BROKEN,),
            since(broken=Trend.SAME) | {"by_change": True},
            128,
            "1 cell, 1 without an answer; since one: noth",
        ),
    ],
)
def test_the_sentence_and_the_exit_status(
    cells: tuple[Cell, ...], fields: dict[str, Any], status: int, said: str
) -> None:
    found = matrix(*cells, **fields)
    assert found.exit_status == status
    assert found.summary.startswith(said)


def test_json_is_read_again(tmp_path: Path) -> None:
    written = matrix(FINE, WRONG, BROKEN, **since(wrong=Trend.WORSE), gone=("a/b/emulated/1",), notes=("n",), jobs=2)
    data = json.loads(render(written, "json"))
    check("matrix", data)
    assert [entry["change"] for entry in data["cells"]][::2] == [None, None]
    (tmp_path / FILE).write_text(json.dumps(data))
    recorded = load(tmp_path)
    assert tuple(recorded.cells.values()) == written.cells
    assert (recorded.until, recorded.rules, recorded.complete, recorded.worse) == ("sec", (), True, True)


def test_the_last_matrix_is_complete_and_nothing_became_worse_in_it(tmp_path: Path) -> None:
    unlike: dict[str, Any] = {"planned": 2}
    for name, fields in (
        ("1", {}),
        ("2", unlike),
        ("3", since(fine=Trend.WORSE)),
        ("4", since(fine=Trend.SAME)),
        ("5", {}),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / FILE).write_text(matrix(FINE, **fields).text())
    (tmp_path / "latest").symlink_to("5")
    (tmp_path / "6").mkdir()
    (tmp_path / "6" / FILE).write_text("{}")
    for besides, last in (("5", "4"), ("6", "5"), ("", "5")):
        found = find_last(tmp_path, tmp_path / besides)
        assert found is not None
        assert found.directory == tmp_path / last
    assert find_last(tmp_path / "1", tmp_path) is None


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "[" * 100000, '{"format": "snp-harness-matrix", "version": 1, "cells": [1]}', "\xff"]
)
def test_a_file_that_is_no_matrix(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text, encoding="latin-1")
    with pytest.raises(UsageError, match="does not describe a matrix"):
        load(tmp_path)
    with pytest.raises(UsageError, match="cannot read"):
        load(tmp_path / "none")


def test_every_form_is_one_of_the_command() -> None:
    assert tuple(FORMATS) == FORMS


def test_junit(tmp_path: Path) -> None:
    path = tmp_path / "junit.xml"
    path.write_text(render(matrix(FINE, WRONG, UNSEEN, BROKEN, planned=5), "junit"))
    (suite,) = JUnitXml.fromfile(str(path))
    assert (suite.tests, suite.failures, suite.errors) == (5, 1, 3)
    assert [case.name for case in suite] == [
        "plain/emulated/1",
        "plain/emulated/1",
        "fault-busy/emulated/1",
        "no-svsm/emulated/1",
        "complete",
    ]
    path.write_text(render(matrix(FINE, **since(fine=Trend.WORSE)), "junit"))
    (suite,) = JUnitXml.fromfile(str(path))
    assert (suite.tests, suite.failures) == (1, 1)


def test_markdown_and_text_have_a_row_for_each_cell() -> None:
    found = matrix(FINE, WRONG, BROKEN)
    lines = render(found, "markdown").splitlines()
    assert lines[0].startswith("### ❌ 3 cells, 1 not as expected, 1 without an answer; first fixed/plain")
    assert lines[2].startswith("| firmware | configuration | verdict | outcome | broken |")
    assert lines[6].endswith("| QEMU \\<died\\> |")
    text = render(found, "text")
    assert f"violated  unexpected   {RULE}" in " ".join(text.split("\n")[3:5])
    assert "platform" in text
    assert "vCPUs" in render(matrix(FINE, cell(where=place(vcpus=2))), "text").splitlines()[2]


def test_annotations() -> None:
    assert render(matrix(FINE), "github") == "::notice title=snp-harness matrix::1 cell, all as expected\n"
    first, second = render(matrix(FINE, WRONG), "github").splitlines()
    assert first.startswith("::error title=snp-harness matrix::2 cells, 1 not as expected; first fixed/plain")
    assert second == "::error title=fixed/plain/emulated/1::violated: why, expected is ok"
    assert render(matrix(UNSEEN), "github").startswith("::warning title=")
    many = [cell("violated", place(vcpus=at), outcome=Outcome.UNEXPECTED, missed=("x",)) for at in range(1, 30)]
    assert len(render(matrix(*many), "github").splitlines()) == 10


def test_a_page() -> None:
    text = render(matrix(FINE, WRONG, BROKEN, **since(wrong=Trend.BETTER)), "html")
    assert "<h1>3 cells, 1 not as expected, 1 without an answer; since one: 1 better, 2 new</h1>" in text
    assert "QEMU &lt;died&gt;" in text
    assert "href" not in text
