# SPDX-License-Identifier: GPL-2.0-or-later
"""The command as a process, with real boots: what it leaves when firmware hangs, QEMU dies or the user ends it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.apic.access import Phase
from harness.apic.timeline import Timeline
from harness.errors import EXIT_ENVIRONMENT, EXIT_INCONCLUSIVE, EXIT_VIOLATED
from harness.firmware.image import FirmwareImage

PLATFORMS = [pytest.param(name, marks=getattr(pytest.mark, name)) for name in ("emulated", "tcg")]
DEADLINE_S = 60.0
#: The seven accesses of OVMF's SEC (edk2 OvmfPkg/Sec/SecMain.c), and whether each is a write.
SEC_ACCESSES = [
    ("SVR", "read", 0xFF),
    ("SVR", "write", 0x1FF),
    ("LVT timer", "read", 0x10000),
    ("LVT timer", "write", 0x20005),
    ("initial count", "write", 0xFFFFFFFF),
    ("LVT timer", "read", 0x20005),
    ("LVT timer", "write", 0x30005),
]
#: JMP to itself, short (AMD APM volume 3, JMP near: EB cb).
HANG = b"\xeb\xfe"

Command = Callable[..., "subprocess.Popen[str]"]


def command(out: Path, firmware: Path, platform: str, *arguments: str) -> list[str]:
    run = ["run", "--platform", platform, "--firmware", str(firmware), "--out", str(out), *arguments]
    return [sys.executable, "-m", "harness.cli", *run]


@pytest.fixture
def start(snp_firmware: Path, tmp_path: Path) -> Iterator[Command]:
    """Starts the command on a platform until the shell; ends what is left of it after the test."""
    with contextlib.ExitStack() as stack:

        def call(platform: str, firmware: Path | None = None, *arguments: str) -> subprocess.Popen[str]:
            process = subprocess.Popen(
                command(tmp_path / "out", firmware or snp_firmware, platform, *(arguments or ("--until", "shell"))),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            stack.callback(finish, process)
            return process

        yield call


def finish(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.kill()
    process.communicate()


def wait_for(what: str, condition: Callable[[], object]) -> None:
    """Looks until the condition holds; fails after a minute, naming what was waited for."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"waited {DEADLINE_S:g} s for {what}"
        time.sleep(0.02)


def qemu_of(process: subprocess.Popen[str]) -> int | None:
    """The process id of the QEMU that the command started, None if there is none yet."""
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{process.pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                if b"qemu-system" in Path(f"/proc/{child}/cmdline").read_bytes():
                    return int(child)
    return None


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in ("Z", "X")


def wait_until_past_sec(process: subprocess.Popen[str], out: Path) -> int:
    """Waits until the witness has written something and the guest's console too; returns QEMU's process id."""

    def past() -> bool:
        assert process.poll() is None, process.communicate()[1]
        return (out / "serial.log").exists() and (out / "serial.log").stat().st_size > 0

    wait_for("the guest's first line", past)
    qemu = qemu_of(process)
    assert qemu is not None
    return qemu


def partial_timeline(out: Path) -> Timeline:
    timeline = Timeline.from_jsonl((out / "timeline.jsonl").read_text(encoding="utf-8"))
    assert not timeline.complete
    assert timeline.gaps
    assert json.loads((out / "verdict.json").read_text())["platform"] == timeline.platform
    return timeline


def register_accesses(timeline: Timeline, phase: Phase) -> int:
    return sum(not access.is_base and access.phase is phase for access in timeline.accesses)


@pytest.mark.parametrize("platform", PLATFORMS)
def test_default_run_gives_the_verdict_for_sec(start: Command, platform: str, tmp_path: Path) -> None:
    process = start(platform, None, "--json")
    stdout, stderr = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == EXIT_VIOLATED, stderr
    report = json.loads(stdout)
    assert report["verdict"]["status"] == "violated"
    assert report["verdict"]["platform"] == platform
    timeline = Timeline.from_jsonl((tmp_path / "out" / "timeline.jsonl").read_text(encoding="utf-8"))
    assert timeline.complete
    seen = [access for access in timeline.accesses if not access.is_base and access.phase is Phase.SEC]
    assert [(access.operation.value, access.value) for access in seen] == [access[1:] for access in SEC_ACCESSES]


@pytest.mark.parametrize("platform", PLATFORMS)
def test_firmware_that_hangs_in_sec(start: Command, platform: str, snp_firmware: Path, tmp_path: Path) -> None:
    image = FirmwareImage.open(snp_firmware)
    (sec,) = (module for module in image.modules if module.name == "SecMain")
    assert sec.base is not None
    data = bytearray(snp_firmware.read_bytes())
    entry = sec.base + sec.entry_rva - image.base
    data[entry : entry + len(HANG)] = HANG
    hanging = tmp_path / "hanging.fd"
    hanging.write_bytes(data)
    process = start(platform, hanging, "--timeout", "5")
    stdout, stderr = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == EXIT_INCONCLUSIVE, stderr
    assert "not reached in 5 s" in stdout
    assert "Traceback" not in stderr
    timeline = partial_timeline(tmp_path / "out")
    assert register_accesses(timeline, Phase.SEC) == 0


@pytest.mark.parametrize("platform", PLATFORMS)
def test_qemu_that_is_killed_in_the_middle(start: Command, platform: str, tmp_path: Path) -> None:
    process = start(platform)
    qemu = wait_until_past_sec(process, tmp_path / "out")
    os.kill(qemu, signal.SIGKILL)
    _, stderr = process.communicate(timeout=DEADLINE_S)
    assert process.returncode >= EXIT_ENVIRONMENT
    (line,) = (line for line in stderr.splitlines() if "error:" in line)
    assert "SIGKILL" in line
    assert str(tmp_path / "out") in line
    assert "Traceback" not in stderr
    assert register_accesses(partial_timeline(tmp_path / "out"), Phase.SEC) == len(SEC_ACCESSES)


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize(("number", "said"), [(signal.SIGINT, "interrupted"), (signal.SIGTERM, "terminated")])
def test_a_run_that_the_user_ends(
    start: Command, platform: str, number: signal.Signals, said: str, tmp_path: Path
) -> None:
    process = start(platform)
    qemu = wait_until_past_sec(process, tmp_path / "out")
    process.send_signal(number)
    _, stderr = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 128 + number
    assert stderr.splitlines()[-1] == f"snp-harness: error: {said}: see {tmp_path / 'out'}"
    assert "Traceback" not in stderr
    assert not is_running(qemu)
    assert register_accesses(partial_timeline(tmp_path / "out"), Phase.SEC) == len(SEC_ACCESSES)


@pytest.mark.parametrize("platform", PLATFORMS)
def test_sigkill_leaves_no_qemu(start: Command, platform: str, tmp_path: Path) -> None:
    process = start(platform)
    qemu = wait_until_past_sec(process, tmp_path / "out")
    process.kill()
    process.wait(DEADLINE_S)
    wait_for("the end of QEMU", lambda: not is_running(qemu))


@pytest.mark.tcg
def test_arguments_for_qemu_reach_it(start: Command, tmp_path: Path) -> None:
    process = start("tcg", None, "--quiet", "--", "-name", "a guest's name")
    process.communicate(timeout=DEADLINE_S)
    assert process.returncode == EXIT_VIOLATED
    assert "a guest's name" in (tmp_path / "out" / "command-line.txt").read_text().replace("'\"'\"'", "'")


@pytest.mark.tcg
def test_an_argument_that_qemu_refuses(start: Command) -> None:
    process = start("tcg", None, "--quiet", "--", "-no-such-option")
    _, stderr = process.communicate(timeout=DEADLINE_S)
    assert process.returncode >= EXIT_ENVIRONMENT
    assert stderr.count("\n") == 1
    assert "no-such-option" in stderr


@pytest.mark.tcg
def test_timeline_prints_what_was_recorded(start: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start("tcg", None, "--quiet").communicate(timeout=DEADLINE_S)
    from harness import cli

    assert cli.main(["timeline", str(tmp_path / "out")]) == 0
    text = capsys.readouterr().out
    assert text.count("Timer LVT") == 4
    assert "-- SEC: " in text
