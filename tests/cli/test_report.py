# SPDX-License-Identifier: GPL-2.0-or-later
"""`snp-harness report` as it is called, and the options that choose the form of a report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from snp_harness.cli import main as cli
from snp_harness.report.formats import FORMATS
from snp_harness.vm import rundir
from tests.apic import samples
from tests.schemas import check


@pytest.fixture
def run(tmp_path: Path) -> Path:
    directory = tmp_path / "run"
    directory.mkdir()
    timeline = samples.timeline(samples.stock_sec())
    (directory / rundir.TIMELINE).write_text(timeline.to_jsonl(), encoding="utf-8")
    return directory


def test_the_status_is_that_of_the_verdict(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["report", str(run)]) == 1
    assert capsys.readouterr().out.startswith("violated: 7 local-APIC accesses in SEC before x2APIC mode")
    (run / rundir.TIMELINE).write_text(samples.timeline(samples.fixed_sec()).to_jsonl())
    assert cli.main(["report", str(run)]) == 0
    (run / rundir.TIMELINE).write_text(samples.timeline(complete=False, gaps=("cut",), phases=()).to_jsonl())
    assert cli.main(["report", str(run)]) == 3


@pytest.mark.parametrize("form", FORMATS)
def test_every_form_goes_to_stdout_or_to_a_file(form: str, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["report", str(run), "--format", form]) == 1
    printed = capsys.readouterr().out
    assert printed.endswith("\n")
    path = run.parent / "report"
    assert cli.main(["report", str(run), "--format", form, "--output", str(path)]) == 1
    assert path.read_text(encoding="utf-8") == printed
    assert capsys.readouterr().out == (
        "violated: 7 local-APIC accesses in SEC before x2APIC mode (emulated SNP host, not hardware)\n"
    )


def test_json_is_a_form(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["report", str(run), "--json"])
    assert json.loads(capsys.readouterr().out)["format"] == "snp-harness-report"


@pytest.mark.parametrize("output", ["", ".", "none/report"])
def test_a_file_that_cannot_be_is_refused_before_the_run(
    output: str, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(run.parent)
    for command in (["report", str(run)], ["run"], ["judge", "x"]):
        with pytest.raises(SystemExit, match=r"^2$"):
            cli.main([*command, "--output", output])
        assert "--output" in capsys.readouterr().err


def test_a_file_that_cannot_be_written(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["report", str(run), "--output", "/dev/full"]) == 128
    assert "cannot write /dev/full" in capsys.readouterr().err


def test_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["report", str(tmp_path)]) == 2
    assert "name a run directory" in capsys.readouterr().err


@pytest.mark.emulated
def test_a_run_is_reported_again_as_it_was(
    snp_firmware: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    status = cli.main(["run", "--firmware", str(snp_firmware), "--out", str(out), "--json", "--quiet"])
    first = json.loads(capsys.readouterr().out)
    check("report", first)
    for name in ("environment", "verdict"):
        check(name, json.loads((out / f"{name}.json").read_text()))
    for line in (out / "timeline.jsonl").read_text().splitlines():
        check("timeline", json.loads(line))
    assert cli.main(["report", str(out), "--json"]) == status
    again = json.loads(capsys.readouterr().out)
    # sys.argv is that of the test runner, and the time is rounded in the file.
    for report in (first, again):
        del report["run"]["rerun"]
        report["run"]["elapsed_s"] = round(report["run"]["elapsed_s"], 3)
    assert again == first
    trace = tmp_path / "trace.json"
    assert cli.main(["report", str(out), "--format", "perfetto", "--output", str(trace)]) == status
    events = json.loads(trace.read_text())["traceEvents"]
    assert [event["name"] for event in events if event.get("cat") == "phase"][:3] == ["RESET", "SEC", "PEI"]
    assert [event for event in events if event.get("cat") == "SVSM calls" and event["dur"] > 0]
    assert [event for event in events if event["name"] == "requests" and event["args"].get("NAE event", 0) > 10]
