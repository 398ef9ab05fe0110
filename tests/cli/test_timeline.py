# SPDX-License-Identifier: GPL-2.0-or-later
"""`snp-harness timeline` as it is called."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from snp_harness.capture.record import RecordKind
from snp_harness.cli import main as cli
from tests.apic import samples
from tests.launch.ring import make_record
from tests.platforms.kept import RUN


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    timeline = samples.timeline(
        phases=(), complete=False, gaps=("it was stopped",), not_observed=frozenset({"pc"}), alternate_injection=False
    )
    (tmp_path / "timeline.jsonl").write_text(timeline.to_jsonl(), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("name", ["", "timeline.jsonl"])
def test_timeline_as_json_is_what_was_recorded(recorded: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["timeline", "--json", str(recorded / name)]) == 0
    assert capsys.readouterr().out == (recorded / "timeline.jsonl").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "No such file"), (b"", "no header line"), (b"\xff\xfe\x00\n", "not JSON"), (b"[]\n", "not an object")],
)
def test_timeline_that_cannot_be_read(
    content: bytes | None, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        (tmp_path / "timeline.jsonl").write_bytes(content)
    assert cli.main(["timeline", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_a_closed_stdout_is_no_traceback(recorded: Path) -> None:
    timeline = recorded / "timeline.jsonl"
    header, end = timeline.read_text(encoding="utf-8").splitlines(keepends=True)
    phase = json.dumps({"phase": {"phase": "SEC", "index": 0, "time_ns": None, "evidence": "x" * 1000}}) + "\n"
    timeline.write_text(header + phase * 1000 + end, encoding="utf-8")
    command = [sys.executable, "-m", "snp_harness", "timeline", "--json", str(recorded)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(timeout=300) == 141


def test_a_vmpl_s_own_track(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run.json").write_text(json.dumps({**RUN, "symbols_base": 0x1000}))
    (tmp_path / "host.log").write_bytes(make_record(1, kind=RecordKind.GHCB_MSR, vmpl=0, rip=0x1234, address=0x80))
    assert cli.main(["timeline", "--vmpl", "0", str(tmp_path)]) == 0
    assert "0/0 1234 " in (text := capsys.readouterr().out)
    assert "GHCB MSR request HV_FEATURES: 80, answer 0" in text
    assert cli.main(["timeline", "--vmpl", "0", "--json", str(tmp_path)]) == 0
    step = json.loads(capsys.readouterr().out)
    assert (step["vmpl"], step["pc"], step["function"], step["count"]) == (0, "0x1234", None, 1)
    assert cli.main(["timeline", "--vmpl", "2", str(tmp_path)]) == 0
    assert capsys.readouterr().out == ""


def test_a_track_needs_a_raw_log(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["timeline", "--vmpl", "0", str(recorded)]) == 2
    assert "name a run on the platform emulated" in capsys.readouterr().err
    assert cli.main(["timeline", "--svsm-symbols", "x", str(recorded)]) == 2
    assert "add --vmpl 0" in capsys.readouterr().err
