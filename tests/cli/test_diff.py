# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import json
from pathlib import Path

import pytest

from snp_harness.apic.timeline import Timeline
from snp_harness.cli.main import main
from tests.apic.samples import fixed_sec, stock_sec, timeline


def run_directory(path: Path, seen: Timeline) -> str:
    path.mkdir()
    (path / "timeline.jsonl").write_text(seen.to_jsonl(), encoding="utf-8")
    return str(path)


@pytest.fixture
def stock(tmp_path: Path) -> str:
    return run_directory(tmp_path / "stock", timeline(stock_sec()))


def test_a_difference(tmp_path: Path, stock: str, capsys: pytest.CaptureFixture[str]) -> None:
    fixed = run_directory(tmp_path / "fixed", timeline(fixed_sec()))
    assert main(["diff", stock, fixed]) == 1
    printed = capsys.readouterr().out.splitlines()
    assert printed[:2] == ["accesses: 2 came, 7 changed, 1 the same", "SecMain, vCPU 0"]
    assert main(["diff", "--json", stock, f"{fixed}/timeline.jsonl"]) == 1
    assert json.loads(capsys.readouterr().out)["format"] == "snp-harness-diff"


def test_a_page_goes_to_a_file(tmp_path: Path, stock: str, capsys: pytest.CaptureFixture[str]) -> None:
    fixed = run_directory(tmp_path / "fixed", timeline(fixed_sec()))
    path = tmp_path / "page.html"
    assert main(["diff", stock, fixed, "--format", "html", "--output", str(path)]) == 1
    assert capsys.readouterr().out == "accesses: 2 came, 7 changed, 1 the same\n"
    assert "<h1>accesses: 2 came, 7 changed, 1 the same</h1>" in path.read_text(encoding="utf-8")


def test_no_difference(tmp_path: Path, stock: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", stock, stock]) == 0
    assert capsys.readouterr().out == "no difference: all 8 accesses that are compared are the same\n"
    # The rest of a run that was not seen whole may differ.
    cut = run_directory(tmp_path / "cut", timeline(stock_sec(), complete=False, gaps=("the run was ended",)))
    assert main(["diff", stock, cut]) == 3
    assert "the second run was not seen whole: the run was ended" in capsys.readouterr().out


def test_there_are_no_rules_for_a_difference(stock: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is judged: an option that chooses rules would be ignored."""
    with pytest.raises(SystemExit, match=r"^2$"):
        main(["diff", stock, stock, "--rule", "x2apic-before-sec"])
    assert "unknown option --rule" in capsys.readouterr().err


def test_a_run_that_is_not_there(stock: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", stock, "/nonexistent"]) == 2
    assert capsys.readouterr().err.startswith("snp-harness: error: cannot read /nonexistent")
