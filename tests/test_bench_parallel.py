# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

from pathlib import Path

import pytest

from bench import parallel
from bench.measure import MeasureError
from bench.parallel import CONFIGURATIONS, Sample, run_matrix
from snp_harness.svsm.config_files import shipped_configs


def test_the_medians_of_alternating_rounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[int] = []

    def sample(_firmware: str, until: str, jobs: int) -> Sample:
        assert until == "pei"
        asked.append(jobs)
        return Sample(float(len(asked)), 2.0)

    monkeypatch.setattr(parallel, "run_matrix", sample)
    monkeypatch.setattr(parallel, "find_firmware", lambda _: "x")
    assert (
        parallel.main(["--until", "pei", "--jobs", "1", "8", "--rounds", "3", "--json", str(tmp_path / "b.json")]) == 0
    )
    assert asked == [1, 8, 1, 8, 1, 8]
    assert capsys.readouterr().out.splitlines() == [
        "8 runs until pei, 1 at a time: 3.0 s, processors 2.0 s",
        "8 runs until pei, 8 at a time: 4.0 s, processors 2.0 s",
    ]


def test_a_matrix_without_verdicts_is_not_timed() -> None:
    assert set(CONFIGURATIONS) <= set(shipped_configs())
    with pytest.raises(MeasureError, match=r"ended with status 2: .*firmware /nonexistent\.fd not found"):
        run_matrix("/nonexistent.fd", "sec", 1)
