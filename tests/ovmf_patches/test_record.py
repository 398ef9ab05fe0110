# SPDX-License-Identifier: GPL-2.0-or-later
"""Recording the table of builds: in the plan's order, each cell once, continued after a stop."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from snp_harness.edk2.git import PatchError
from snp_harness.edk2.source_errors import CompileError
from tests.ovmf_patches import builds, cells, record
from tests.ovmf_patches.cells import IMAGE, MAIN, MODULES, Cell, series_digest

FOUND = {
    "patches": 23,
    "builds": IMAGE,
    "verdict": "holds",
    "stock verdict": "violated: no-refused-access",
    "same": {"tcg": "same to shell"},
}


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty table."""
    path = tmp_path / "builds.json"
    path.write_text("[]")
    monkeypatch.setattr(builds, "RESULTS", path)
    monkeypatch.setattr(builds, "TABLE", tmp_path / "BUILDS.md")
    return path


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The cells that were measured, by a stand-in that is stopped at a cell for CloudHvX64."""
    done: list[str] = []

    def measure(_: object, what: str, cell: Cell) -> dict[str, Any]:
        if cell.platform == "CloudHvX64":
            raise KeyboardInterrupt
        done.append(record.name(what, cell))
        return FOUND if what == IMAGE else {"patches": 23, "builds": MODULES}

    monkeypatch.setattr(record.Measurements, "measure", measure)
    return done


def names(results: Path) -> list[str]:
    """The cells in the results."""
    return [record.name(found["builds"], builds.cell_of(found)) for found in json.loads(results.read_text())]


def test_the_plan_has_each_cell_once() -> None:
    planned = [cell for _, cell in record.plan()]
    assert len(set(planned)) == len(planned)


def test_it_continues_where_it_was_stopped(results: Path, measured: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """What was recorded when it is stopped is in the results and in the table, and is not measured again."""
    monkeypatch.setattr(sys, "argv", ["record", f"*-{MAIN}-OvmfX64-*-GCC", "*-CloudHvX64-*", "*-IntelTdxX64-*"])
    for count in (5, 0):
        measured.clear()
        with pytest.raises(KeyboardInterrupt):
            record.main()
        assert len(measured) == count
    assert names(results)[0] == f"image-{MAIN}-OvmfX64-DEBUG-GCC"
    assert builds.TABLE.read_text() == builds.render(builds.load())


def test_what_was_measured_with_another_series_is_measured_again(
    results: Path, measured: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["record", f"image-{MAIN}-OvmfX64-DEBUG-GCC"])
    record.main()
    results.write_text(results.read_text().replace(series_digest(), "01234567"))
    record.main()
    record.main()
    assert len(measured) == 2
    assert len(names(results)) == 1


def test_modules_do_not_stand_for_an_image_but_the_image_for_them() -> None:
    cell = Cell(MAIN)
    for built, done in ((IMAGE, {IMAGE, MODULES}), (MODULES, {MODULES})):
        found = {"version": MAIN, "platform": "OvmfX64", "target": "DEBUG", "toolchain": "GCC", "defines": []}
        results = [{**found, "series": series_digest(), "builds": built}]
        assert {what for what in (IMAGE, MODULES) if record.is_done(what, cell, results)} == done


def test_a_series_that_does_not_apply_is_a_result(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def measure(*_: object) -> dict[str, Any]:
        raise PatchError("0003 does not apply", "")

    monkeypatch.setattr(record, "upstream_repository", lambda: None)
    monkeypatch.setattr(record, "measure", measure)
    monkeypatch.setattr(sys, "argv", ["record", f"image-{MAIN}-OvmfX64-DEBUG-GCC"])
    record.main()
    [found] = json.loads(results.read_text())
    assert (found["patches"], found["builds"]) == (0, "0003 does not apply")


def test_the_workspace_of_modules_is_of_one_version(
    results: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its path is the same for all."""
    seen: list[tuple[Path, bool]] = []

    def compiled(_cell: Cell, _repository: object, directory: Path, _jobs: int) -> dict[str, Any]:
        seen.append((directory, (directory / "built").exists()))
        (directory / "built").touch()
        return {"patches": 23, "builds": MODULES}

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(record, "upstream_repository", lambda: None)
    monkeypatch.setattr(record, "compiled", compiled)
    monkeypatch.setattr(sys, "argv", ["record", "modules-edk2-stable20260[25]-*-NOOPT-*"])
    record.main()
    assert [built for _, built in seen] == [False, True, False, True]
    assert len({directory for directory, _ in seen}) == 1
    assert len(json.loads(results.read_text())) == 4


def test_modules_that_do_not_build_are_a_result(results: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With the series that was applied, so that the table can be written."""

    def build_modules(*_: object) -> None:
        raise CompileError("it does not build: a.c:1: error: b", "")

    source = mock.MagicMock()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(record, "upstream_repository", lambda: None)
    monkeypatch.setattr(Cell, "source", lambda *_: source)
    monkeypatch.setattr(cells, "patch_count", lambda *_: 23)
    for name in ("find_tools", "tool_chain", "Workspace"):
        monkeypatch.setattr(cells, name, mock.MagicMock())
    monkeypatch.setattr(cells, "build_modules", build_modules)
    monkeypatch.setattr(sys, "argv", ["record", f"modules-{MAIN}-CloudHvX64-*"])
    record.main()
    [found] = json.loads(results.read_text())
    assert (found["patches"], found["builds"]) == (23, "it does not build: a.c:1: error: b")
    assert "| fails |" in builds.TABLE.read_text()
