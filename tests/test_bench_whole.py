# SPDX-License-Identifier: GPL-2.0-or-later
"""`make bench`: its parts, and the aims at its end."""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path

import pytest

from bench import aims, whole
from bench.__main__ import CPU_AT, PLAIN, measured
from bench.fleet import Sample, table
from bench.linux import COMPARED, ratios, row
from bench.linux import PLAIN as PLAIN_LINUX
from bench.measure import write_report
from bench.whole import Part


def test_every_part_is_a_module() -> None:
    assert all(importlib.util.find_spec(part.module) for part in whole.PARTS)


def test_a_part_that_fails_is_reported_and_the_others_follow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Files of an earlier time are not its results."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "bench-old.json").write_text('{"measured": {"memory": 1}}')
    (tmp_path / "ends.py").write_text("import sys; sys.exit(int(sys.argv[1]))")
    (tmp_path / "hangs.py").write_text("import time; time.sleep(3600)")
    (tmp_path / "measures.py").write_text("open('build/bench-x.json', 'w').write('{\"measured\": {\"told\": 0.5}}')")
    parts = (Part("ends"), Part("hangs", timeout_s=0.5), Part("ends", ("0",)), Part("measures"))
    monkeypatch.setattr(whole, "PARTS", parts)
    monkeypatch.setattr(whole, "compile_package", lambda: None)
    assert whole.main(["4"]) == 1
    out, err = capfd.readouterr()
    assert err.splitlines()[-2:] == [
        "bench: error: ends: it ended with status 4",
        "bench: error: hangs: it did not end in 0.5 s",
    ]
    assert "0.50x, aim 0.60x: met" in out
    found = json.loads((tmp_path / "build" / "bench-aims.json").read_text())
    values = {aim["name"]: (aim["value"], aim["met"]) for aim in found["aims"]}
    assert set(values) == set(aims.AIMS)
    assert values["told"] == (0.5, True)
    assert values["memory"] == (None, None)
    assert found["cores"] == os.cpu_count()


def test_the_aims_in_words(tmp_path: Path) -> None:
    write_report(tmp_path / "bench-a.json", {"other": 1}, {"exits-vc": 30_891.0, "told": 0.38})
    write_report(tmp_path / "bench-b.json", {})
    write_report(tmp_path / "bench-c.json", {}, {"fail-fast": 0.61})
    lines = [" ".join(line.split()) for line in aims.table(aims.collect(tmp_path))]
    assert lines[0].endswith("instructions counted 30,891 exits, aim 40,000 exits: met")
    assert "run --fail-fast to its end, against the same 0.61x, aim 0.60x: not met" in lines
    assert [line for line in lines if "Chromium" in line] == [
        "until it is drawn aim 2.00 s: not measured, it needs Chromium"
    ]


def test_boots_of_a_qemu_with_plugins_are_values_of_the_aims_in_place() -> None:
    line = CPU_AT.format("BdsDxe: ")
    results = {PLAIN: {line: 1.0}, "emulated, I/O as #VC": {line: 2.0}, "emulated, native": {line: 1.5}}
    assert measured(results) == {"bds-vc": 2.0, "bds-native": 1.5}
    results["emulated, I/O as #VC, in place"] = {line: 1.6}
    assert measured(results) == {"bds-vc-in-place": 1.6}


def test_a_boot_of_linux_that_does_not_end_is_reported() -> None:
    """With a thread for each vCPU, plain TCG of QEMU hangs in some boots."""
    vc, native = COMPARED
    taken = {PLAIN_LINUX: [4.0], vc: [10.0, 8.0], native: []}
    assert ratios(taken) == {"linux-vc": 2.25}
    assert row(vc, taken[vc], 0, 100, 2.25).endswith("9.0 s  2.25x, aim 2.50x: met")
    assert row(PLAIN_LINUX, [4.0], 2, 100, None).endswith("4.0 s  2 of 3 did not end in 100 s")
    assert row(native, [], 3, 100, None).endswith("  3 of 3 did not end in 100 s")
    assert ratios({**taken, PLAIN_LINUX: []}) == {}


def test_the_table_of_a_fleet() -> None:
    text = table(8, {1: Sample(20.0, 15.0, 8, 8), 8: Sample(12.5, 16.0, 0, 2)})
    assert text.splitlines()[-1].split() == ["8", "12.5", "0", "to", "2"]
