# SPDX-License-Identifier: GPL-2.0-or-later
"""`snp-harness matrix`."""

from __future__ import annotations

import json
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from snp_harness.cli import main as cli
from snp_harness.matrix.make import TABLE
from snp_harness.matrix.result import FILE, load
from snp_harness.vm import rundir
from snp_harness.vm.run_lock import in_use
from tests.documents import ROOT
from tests.firmware.builder import image
from tests.matrix.samples import RULE, place
from tests.schemas import check


@pytest.fixture
def firmware(tmp_path: Path) -> str:
    path = tmp_path / "OVMF.fd"
    path.write_bytes(image())
    return str(path)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--same-as", "stok"], "--same-as: no firmware is named 'stok': did you mean stock?"),
        (["--expect", "stock=hold"], "did you mean holds?"),
        (["--expect", "fixed=ok"], "--expect: no cell has 'fixed'"),
        (["--svsm-config", "fault_busy"], "did you mean fault-busy?"),
        (["--rule", "x2apic-before-sex"], "did you mean x2apic-before-sec?"),
        (["--platform", "emulated,tcg"], "no platform is named 'emulated,tcg'"),
        (["--until", "ssh"], "no Linux guest to log in to"),
        (["--until", "console:("], "is not a regular expression"),
        (["--vcpus", "1000"], "1000 vCPUs cannot be run"),
        (["--memory", "1"], "1 MiB of memory cannot be run"),
        (["--compare", "/nonexistent"], "cannot read /nonexistent/matrix.json"),
        (["--out", "/dev/null/x"], "cannot make the run directory"),
    ],
)
def test_mistakes_are_one_line_before_the_first_run(
    firmware: str, tmp_path: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = [] if "--out" in arguments else ["--out", str(tmp_path / "out")]
    assert cli.main(["matrix", f"stock={firmware}", *out, *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_the_cells_are_printed_and_none_is_run(
    firmware: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--svsm-config", "pl*", "--vcpus", "1", "--vcpus", "2", "--expect", "*/*/*/2=any", "--dry-run"]
    assert cli.main(["matrix", firmware, "--out", str(tmp_path / "out"), *arguments]) == 0
    assert capsys.readouterr().out == "OVMF/plain/emulated/1: ok\nOVMF/plain/emulated/2: any\n"
    assert not (tmp_path / "out").exists()


def test_a_firmware_that_does_not_start_does_not_end_the_matrix(
    firmware: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    configs = ["--svsm-config", "plain", "--svsm-config", "alternate-injection"]
    arguments = [*configs, "--qemu", "/nonexistent", "--out", str(tmp_path), "--json", "--quiet"]
    assert cli.main(["matrix", firmware, *arguments]) == 128
    found = json.loads(capsys.readouterr().out)
    check("matrix", found)
    assert [cell["verdict"] for cell in found["cells"]] == ["not run", "not run"]
    assert found["complete"]
    assert "/nonexistent" in found["summary"]


def test_the_commands_of_the_page_and_of_the_nightly() -> None:
    text = (ROOT / "docs" / "matrix.md").read_text(encoding="utf-8")
    blocks = re.findall(r"(?:^    .*\n)+", text, re.MULTILINE)
    commands = [shlex.split(block.replace("\\\n", "")) for block in blocks]
    for command in commands:
        assert command[:2] == ["snp-harness", "matrix"]
        cli.build_parser(command[1:]).parse_args(command[1:])
    (recipe,) = re.findall(r"^nightly:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    nightly = shlex.split(recipe.split("$(BIN)/")[-1].replace("\\\n", ""))
    assert nightly == commands[-1]
    steps = (ROOT / ".github" / "workflows" / "nightly.yml").read_text()
    assert "- run: make nightly\n" in steps
    for kept in ("build/firmware", "build/nightly", f"build/nightly/latest/{TABLE}"):
        assert kept in steps


@pytest.mark.emulated
def test_a_matrix_is_compared_with_the_last(
    snp_firmware: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    configs = ["--svsm-config", "alternate-injection", "--svsm-config", "no-feature-bit-9"]
    arguments = ["matrix", f"stock={snp_firmware}", *configs, "--out", str(out)]
    assert cli.main([*arguments, "--expect", f"stock/alternate-injection=violated,{RULE}:violated", "--json"]) == 0
    first = json.loads(capsys.readouterr().out)
    check("matrix", first)
    assert [(cell["verdict"], cell["refused"]) for cell in first["cells"]] == [
        ("violated", False),
        ("inconclusive", True),
    ]
    assert first["last"] is None
    # Of the same firmware, nothing has changed, and what was violated is still not as it should be.
    assert cli.main([*arguments, "--quiet"]) == 1
    text = capsys.readouterr().out
    assert text.startswith("2 cells, 1 not as expected; since ")
    assert ": nothing changed; first stock/alternate-injection/emulated/1: violated: " in text.splitlines()[0]
    assert cli.main([*arguments, "--only-worse", "--quiet", "--format", "markdown"]) == 0
    assert "1 not as expected, as the last time" in capsys.readouterr().out
    *_, last = sorted(out.glob("*-matrix"))
    (run,) = (last / "stock" / "alternate-injection").iterdir()
    assert cli.main(["report", str(run)]) == 1
    page = (last / "index.html").read_text()
    assert 'href="pages/run-stock,alternate-injection,emulated,1.html"' in page
    assert (last / "pages" / "run-stock,alternate-injection,emulated,1.html").is_file()
    assert {path.name for path in last.iterdir()} >= {FILE, "matrix.md", rundir.JUNIT}
    # Runs to another goal answer another question.
    assert cli.main([*arguments, "--until", "pei", "--compare", str(last)]) == 2
    assert "its runs are until sec" in capsys.readouterr().err


@pytest.mark.emulated
def test_an_interrupt_leaves_no_guest_and_keeps_what_was_done(snp_firmware: Path, tmp_path: Path) -> None:
    """The second cell would go on for minutes: nothing boots, and it is not to end."""
    never = "console:a text that is never printed"
    out = tmp_path / "out"
    command = [sys.executable, "-m", "snp_harness", "matrix", f"a={snp_firmware}", "--until", never, "-j", "1"]
    configs = ["--svsm-config", "no-feature-bit-9", "--svsm-config", "alternate-injection-off"]
    process = subprocess.Popen([*command, *configs, "--out", str(out), "--expect", "a=any"], stderr=subprocess.PIPE)
    second = place("a", "alternate-injection-off").directory / rundir.HOST_LOG
    deadline = time.monotonic() + 120
    while not any(path.stat().st_size for path in out.glob(f"*/{second}")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=120)
    assert process.returncode == 130
    assert b"interrupted: see " in error
    (directory,) = out.glob("*-matrix")
    recorded = load(directory)
    assert [found.configuration for found in recorded.cells] == ["no-feature-bit-9"]
    assert not recorded.complete
    # The run that was ended has written what it saw, and its QEMU has ended: its directory is free.
    ended = directory / second.parent
    assert json.loads((ended / rundir.VERDICT).read_text())["status"] in ("inconclusive", "does not apply", "violated")
    assert not in_use(ended)
