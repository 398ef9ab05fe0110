# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from bench import page
from bench.aims import AIMS
from snp_harness.report.html.chart_data import ACCESSES_MAX, pack


def test_the_page_that_is_measured_has_all_accesses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert page.ACCESSES == ACCESSES_MAX
    data = pack(page.report(400))
    assert (len(data["kind"]), data["left"]) == (400, 0)
    assert {kind[1] for kind in data["kinds"]} == set(range(page.VCPUS))
    small = page.report(400)
    monkeypatch.setattr(page, "report", lambda: small)
    monkeypatch.setattr("bench.page.shutil.which", lambda _: None)
    report = tmp_path / "bench-page.json"
    assert page.main(["--json", str(report)]) == 0
    assert "loading is not measured" in capsys.readouterr().out
    assert 0 < json.loads(report.read_text())["measured"]["page"] < 1
    monkeypatch.setitem(AIMS, "page", replace(AIMS["page"], most=0.001))
    assert page.main(["--json", str(report)]) == 1
