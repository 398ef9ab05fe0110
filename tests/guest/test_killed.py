# SPDX-License-Identifier: GPL-2.0-or-later
"""Whatever ends the process that holds a guest leaves no QEMU, and what was seen until then can be judged."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import snp_harness
from snp_harness.cli import main as cli
from snp_harness.vm import rundir
from tests.vm.processes import fifo, line_of, wait_for_end

PROGRAM = r"""
import sys, time
from pathlib import Path
from snp_harness import Phase, boot

with boot(sys.argv[1], platform=sys.argv[2], out=Path(sys.argv[3])) as guest:
    guest.accesses.wait(register="SVR")
    pid = guest._keeper.session.running.machine.pid
    Path(sys.argv[4]).write_text(f"{pid}\n")
    time.sleep(600)
"""
TEST = r"""
import time
from pathlib import Path

def test_it(snp_guest):
    guest = snp_guest(platform="tcg")
    guest.accesses.wait(register="SVR")
    pid = guest._keeper.session.running.machine.pid
    Path("pid").write_text(f"{pid} {guest.directory}\n")
    time.sleep(600)
"""


def start(argv: list[str], cwd: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(Path(snp_harness.__file__).parent.parent)}
    return subprocess.Popen(
        [sys.executable, *argv], cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(
    "platform", [pytest.param("emulated", marks=pytest.mark.emulated), pytest.param("tcg", marks=pytest.mark.tcg)]
)
def test_a_program(
    number: signal.Signals, platform: str, snp_firmware: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told, out = fifo(tmp_path / "pid"), tmp_path / "out"
    with start(["-c", PROGRAM, str(snp_firmware), platform, str(out), str(told)], tmp_path) as process:
        qemu = int(line_of(told, 60))
        process.send_signal(number)
        process.communicate(timeout=60)
    assert wait_for_end(qemu, 30)
    assert (out / rundir.VERDICT).is_file() == (number == signal.SIGINT)
    # What was seen is judged, though the harness has written no timeline.
    assert cli.main(["report", str(out)]) in (1, 3)
    assert "SVR" in capsys.readouterr().out


@pytest.mark.tcg
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_pytest_itself(number: signal.Signals, snp_firmware: Path, tmp_path: Path) -> None:
    told = fifo(tmp_path / "pid")
    (tmp_path / "test_it.py").write_text(TEST, encoding="utf-8")
    arguments = ["-p", "no:hypothesispytest", f"--snp-firmware={snp_firmware}", f"--snp-out={tmp_path / 'out'}"]
    with start(["-m", "pytest", *arguments, "test_it.py"], tmp_path) as process:
        qemu, directory = line_of(told, 60).split()
        process.send_signal(number)
        said, _ = process.communicate(timeout=60)
    assert wait_for_end(int(qemu), 30)
    assert (Path(directory) / rundir.TRACE).stat().st_size
    if number == signal.SIGINT:
        assert (Path(directory) / rundir.VERDICT).is_file(), said
