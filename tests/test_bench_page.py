# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import pytest

from bench import page
from snp_harness.report.html.chart_data import ACCESSES_MAX, pack


def test_the_page_that_is_measured_has_all_accesses(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert page.ACCESSES == ACCESSES_MAX
    data = pack(page.report(400))
    assert (len(data["kind"]), data["left"]) == (400, 0)
    assert {kind[1] for kind in data["kinds"]} == set(range(page.VCPUS))
    small = page.report(400)
    monkeypatch.setattr(page, "report", lambda: small)
    monkeypatch.setattr("bench.page.shutil.which", lambda _: None)
    assert page.main([]) == 0
    assert "loading is not measured" in capsys.readouterr().out
    monkeypatch.setattr(page, "SIZE_MAX", 1000)
    assert page.main([]) == 1
