# SPDX-License-Identifier: GPL-2.0-or-later
"""`snp-harness timeline` as it is called."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from snp_harness.apic.timeline import Event
from snp_harness.capture.record import RecordKind
from snp_harness.cli import main as cli
from snp_harness.vm.rundir import RunDirectory
from tests.apic import samples
from tests.launch.ring import make_record
from tests.platforms.kept import RUN
from tests.schemas import check


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


def test_text_in_the_columns_of_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    event = Event("svsm-stage", 1500, 0, "a long text " * 12, {})
    accesses = [*samples.stock_sec(), samples.xapic(samples.READ, 0x380, 0xFFFFFFFFFFFFFFFF, module="M" * 60)]
    timeline = samples.timeline(accesses, events=(event,), faults=("busy",), gaps=("late",), complete=False)
    (tmp_path / "timeline.jsonl").write_text(timeline.to_jsonl(), encoding="utf-8")
    monkeypatch.delenv("COLUMNS", raising=False)
    assert cli.main(["timeline", str(tmp_path)]) == 0
    wide = capsys.readouterr().out.splitlines()
    assert wide[0] == "-- faults injected: busy"
    assert wide[1].split()[:3] == ["#", "time/s", "vCPU/VMPL"]
    assert wide[-1] == "-- not seen whole: late"
    assert any("SecMain+1A2B" in line and "Timer Initial Count 380" in line for line in wide)
    monkeypatch.setenv("COLUMNS", "80")
    assert cli.main(["timeline", str(tmp_path)]) == 0
    narrow = capsys.readouterr().out.splitlines()
    assert max(map(len, narrow)) <= 80
    assert len([line for line in narrow if "Timer Initial Count" in line]) == 2
    assert any("FFFFFFFFFFFFFFFF" in line for line in narrow)


def test_what_is_asked_for(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    accesses = samples.stock_sec()
    (recorded / "timeline.jsonl").write_text(samples.timeline(accesses).to_jsonl())
    assert cli.main(["timeline", str(recorded), "--json", "--register", "timer lvt,380", "--path", "mmio"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    found = [line["access"]["offset"] for line in lines if "access" in line]
    assert found == ["0x320", "0x320", "0x380", "0x320", "0x320"]
    for line in lines:
        check("timeline", line)
    filters = ("--phase", "sec,pei", "--vcpu", "0", "--served-by", "hypervisor", "--since", "#3", "--all")
    assert cli.main(["timeline", str(recorded), *filters]) == 0
    assert len([line for line in capsys.readouterr().out.splitlines() if " -- " not in line]) == 12


@pytest.mark.parametrize(
    "wrong",
    [("--phase", "sex"), ("--vcpu", "x"), ("--path", ""), ("--since", "-1"), ("--since", "1e9"), ("--vcpu", "1,")],
)
def test_what_cannot_be_asked_for(wrong: tuple[str, str], recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"^2$"):
        cli.main(["timeline", str(recorded), *wrong])
    assert wrong[0] in capsys.readouterr().err


def test_a_register_that_there_is_not(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["timeline", str(recorded), "--register", "svx"]) == 2
    assert "no register is named 'svx': did you mean SVR? name one" in capsys.readouterr().err


def test_a_run_is_followed_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The log grows between two looks, and at the end the whole timeline is there."""
    out = tmp_path / "out"
    directory = RunDirectory.create(out, "emulated")
    (out / "run.json").write_text(json.dumps(RUN))
    record = {"kind": RecordKind.APIC_BASE, "vmpl": 2, "address": 0x1B, "value": 0xFEE00900}
    (out / "host.log").write_bytes(make_record(1, **record))
    seen: list[str] = []
    looks = iter(range(3))

    def look(_seconds: float) -> None:
        seen.append(capsys.readouterr().out)
        number = next(looks)
        if number < 2:
            with (out / "host.log").open("ab") as log:
                # A part of the next record is not read before the rest is there.
                log.write(make_record(2, **record)[:40] if number == 0 else make_record(2, **record)[40:])
            return
        accesses = [samples.base(samples.READ, 0xFEE00900, None, time_ns=time) for time in (1000, 2000, 3000)]
        (out / "timeline.jsonl").write_text(samples.timeline(accesses, alternate_injection=False, phases=()).to_jsonl())
        directory.release()

    monkeypatch.setattr("time.sleep", look)
    assert cli.main(["timeline", "--follow", "--all", str(out)]) == 0
    seen.append(capsys.readouterr().out)
    assert [text.count("APIC_BASE") for text in seen] == [1, 0, 1, 1]
    assert "".join(seen).count("time/s") == 1


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
