# SPDX-License-Identifier: GPL-2.0-or-later
"""The command as a process, with real boots: what it leaves when firmware hangs, QEMU dies or the user ends it."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from snp_harness.apic.access import Phase
from snp_harness.apic.timeline import Timeline
from snp_harness.cli.main import main
from snp_harness.errors import EXIT_ENVIRONMENT, EXIT_INCONCLUSIVE, EXIT_USAGE, EXIT_VIOLATED
from snp_harness.firmware.image import FirmwareImage
from tests.apic.samples import SEVEN
from tests.platforms.sec import told
from tests.vm.processes import is_running, wait_for_end

PLATFORMS = [pytest.param(name, marks=getattr(pytest.mark, name)) for name in ("emulated", "tcg")]
DEADLINE_S = 300.0
#: JMP to itself, short (AMD APM volume 3, JMP near: EB cb).
HANG = b"\xeb\xfe"
#: again: imul ebx, ebx, 69069; inc ebx; mov eax, ebx; shr eax, 24; mov dx, 3f8h (COM1); out dx, al; jmp again.
#: A linear congruential generator: every byte comes, in no order, whatever machine it runs on.
FLOOD = bytes.fromhex("69 db cd 0d 01 00  ff c3  89 d8  c1 e8 18  66 ba f8 03  ee  eb ec")

#: A boot to the prompt: with Alternate Injection no stock firmware gets its timer's ticks.
TO_THE_SHELL = ("--svsm-config", "alternate-injection-off", "--as-if-active", "--until", "shell")

Command = Callable[..., "subprocess.Popen[str]"]


def command(out: Path, firmware: Path, platform: str, *arguments: str) -> list[str]:
    run = ["run", "--platform", platform, "--firmware", str(firmware), "--out", str(out), *arguments]
    return [sys.executable, "-m", "snp_harness", *run]


@pytest.fixture
def start(snp_firmware: Path, tmp_path: Path) -> Iterator[Command]:
    """Starts the command on a platform until the shell; ends what is left of it after the test."""
    with contextlib.ExitStack() as stack:

        def call(platform: str, firmware: Path | None = None, *arguments: str) -> subprocess.Popen[str]:
            process = subprocess.Popen(
                command(tmp_path / "out", firmware or snp_firmware, platform, *(arguments or TO_THE_SHELL)),
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


def wait_for(what: str, process: subprocess.Popen[str], condition: Callable[[], object]) -> None:
    """Look until the condition holds, and at the latest until the process ends; fails after DEADLINE_S."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert not wait_for_end(process.pid, 0.02), f"it ended before {what}: {process.communicate()[1]}"
        assert time.monotonic() < deadline, f"waited {DEADLINE_S:g} s for {what}"


def qemu_of(process: subprocess.Popen[str]) -> int | None:
    """The process id of the QEMU that the command started, None if there is none yet."""
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{process.pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                if b"qemu-system" in Path(f"/proc/{child}/cmdline").read_bytes():
                    return int(child)
    return None


def running_with(argument: str) -> list[int]:
    """Process ids of processes that have an argument with this text in it."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and argument.encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
    return found


def wait_until_past_sec(process: subprocess.Popen[str], out: Path) -> int:
    """Waits until the witness has written something and the guest's console too; returns QEMU's process id."""
    serial = out / "serial.log"
    wait_for("the guest's first line", process, lambda: serial.exists() and serial.stat().st_size > 0)
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
    assert report["run"]["configuration"] == ("alternate-injection" if platform == "emulated" else None)
    timeline = Timeline.from_jsonl((tmp_path / "out" / "timeline.jsonl").read_text(encoding="utf-8"))
    assert timeline.complete
    seen = [access for access in timeline.accesses if not access.is_base and access.phase is Phase.SEC]
    assert told(seen) == SEVEN


@pytest.mark.parametrize("platform", PLATFORMS)
def test_the_first_offence_is_printed_while_the_run_goes_on(start: Command, platform: str) -> None:
    """Until DXE: on a busy machine the end of SEC may be read together with the offence."""
    process = start(platform, None, "--until", "dxe")
    _, stderr = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == EXIT_VIOLATED, stderr
    by = r" by SecMain\+[0-9A-F]+" if platform == "emulated" else ""
    (line,) = re.findall(rf"snp-harness: violated: (.*){by} in SEC; the run goes on\n", stderr)
    assert line == "x2apic-before-sec: read of SVR 0F0"


@pytest.fixture
def patched(snp_firmware: Path, tmp_path: Path) -> Callable[[bytes], Path]:
    """Makes a firmware whose SecMain starts with the given code."""

    def make(code: bytes) -> Path:
        image = FirmwareImage.open(snp_firmware)
        (sec,) = (module for module in image.modules if module.name == "SecMain")
        assert sec.base is not None
        data = bytearray(snp_firmware.read_bytes())
        entry = sec.base + sec.entry_rva - image.base
        data[entry : entry + len(code)] = code
        path = tmp_path / "patched.fd"
        path.write_bytes(data)
        return path

    return make


@pytest.fixture
def hanging(patched: Callable[[bytes], Path]) -> Path:
    """A firmware that hangs at the start of SEC."""
    return patched(HANG)


@pytest.mark.tcg
def test_a_guest_that_floods_its_console_with_garbage(
    start: Command, patched: Callable[[bytes], Path], tmp_path: Path
) -> None:
    serial = tmp_path / "out" / "serial.log"
    for seconds in ("3", "60"):
        process = start("tcg", patched(FLOOD), "--quiet", "--timeout", seconds)
        stdout, stderr = process.communicate(timeout=DEADLINE_S)
        if len(set(serial.read_bytes())) == 256:
            break
        # The machine was slow, or the process did not run for a while.
    assert process.returncode == EXIT_INCONCLUSIVE, stderr
    assert stderr == ""
    assert all(line.isprintable() for line in stdout.splitlines())
    assert "last line of the console" in stdout
    assert len(set(serial.read_bytes())) == 256
    assert partial_timeline(tmp_path / "out").gaps[0].isprintable()


@pytest.mark.parametrize("platform", PLATFORMS)
def test_firmware_that_hangs_in_sec(start: Command, platform: str, hanging: Path, tmp_path: Path) -> None:
    process = start(platform, hanging, "--quiet", "--timeout", "3")
    stdout, stderr = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == EXIT_INCONCLUSIVE, stderr
    assert "not reached in 3 s" in stdout
    assert stderr == ""
    timeline = partial_timeline(tmp_path / "out")
    assert register_accesses(timeline, Phase.SEC) == 0


@pytest.mark.slow
@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_qemu_that_hangs_ends_with_the_timeout(start: Command, platform: str, tmp_path: Path) -> None:
    process = start(platform, None, *TO_THE_SHELL, "--timeout", "40")
    qemu = wait_until_past_sec(process, tmp_path / "out")
    os.kill(qemu, signal.SIGSTOP)
    stdout, stderr = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == EXIT_VIOLATED, stderr
    assert "was not reached in 40 s" in stdout
    assert not is_running(qemu)
    assert register_accesses(partial_timeline(tmp_path / "out"), Phase.SEC) == len(SEVEN)


@pytest.mark.parametrize("platform", PLATFORMS)
def test_qemu_that_is_killed_in_the_middle(start: Command, platform: str, tmp_path: Path) -> None:
    process = start(platform, None, *TO_THE_SHELL, "--json")
    qemu = wait_until_past_sec(process, tmp_path / "out")
    os.kill(qemu, signal.SIGKILL)
    stdout, stderr = process.communicate(timeout=DEADLINE_S)
    assert process.returncode >= EXIT_ENVIRONMENT
    (line,) = (line for line in stderr.splitlines() if "error:" in line)
    assert "SIGKILL" in line
    assert str(tmp_path / "out") in line
    assert "Traceback" not in stderr
    assert register_accesses(partial_timeline(tmp_path / "out"), Phase.SEC) == len(SEVEN)
    assert "SIGKILL" in json.loads((tmp_path / "out" / "environment.json").read_text())["error"]
    assert "SIGKILL" in json.loads(stdout)["run"]["error"]


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize(
    ("number", "said"),
    [(signal.SIGINT, "interrupted"), (signal.SIGTERM, "terminated"), (signal.SIGHUP, "terminated")],
)
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
    assert register_accesses(partial_timeline(tmp_path / "out"), Phase.SEC) == len(SEVEN)


def end_by_two_signals(
    process: subprocess.Popen[str], out: Path, first: signal.Signals, second: signal.Signals
) -> None:
    """Send two signals 20 ms apart: the status is that of one of them, and what was seen is kept if QEMU ran.

    It is the first one's unless both came in a single step of Python's: then its handlers run by number.
    """
    process.send_signal(first)
    # What is tested is a second signal in the middle of what the first one has begun.
    wait_for_end(process.pid, 0.02)
    process.send_signal(second)
    _, stderr = process.communicate(timeout=DEADLINE_S)
    assert process.returncode in (128 + first, 128 + second, -first, EXIT_VIOLATED), stderr
    # An interrupt before main() is Python's own: its traceback ends in an import.
    assert "Traceback" not in stderr or (process.returncode == -first and ", in main" not in stderr), stderr
    assert "Exception" not in stderr
    if (out / "qemu-stderr.log").exists():
        assert json.loads((out / "verdict.json").read_text())["platform"]
        assert (out / "timeline.jsonl").exists()
    assert not running_with(f"{out}/")


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize(
    ("first", "second"), [(signal.SIGINT, signal.SIGTERM), (signal.SIGTERM, signal.SIGINT)], ids=("INT", "TERM")
)
def test_two_signals_keep_what_was_seen(
    start: Command, platform: str, first: signal.Signals, second: signal.Signals, tmp_path: Path
) -> None:
    process = start(platform)
    wait_until_past_sec(process, tmp_path / "out")
    end_by_two_signals(process, tmp_path / "out", first, second)
    assert process.returncode == 128 + first
    assert register_accesses(partial_timeline(tmp_path / "out"), Phase.SEC) == len(SEVEN)


@pytest.mark.slow
@pytest.mark.parametrize("platform", PLATFORMS)
def test_two_signals_at_any_moment(start: Command, platform: str, tmp_path: Path) -> None:
    """During imports, the start of QEMU, the run, its end and the report."""
    choose = random.Random(1)
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for _ in range(60):
        process = start(platform, None, "--quiet", "--until", "dxe")
        wait_for_end(process.pid, choose.uniform(0, 2.2))
        end_by_two_signals(process, tmp_path / "out", *choose.sample(numbers, 2))


@pytest.mark.tcg
def test_a_signal_that_was_ignored_stays_ignored(start: Command, snp_firmware: Path, tmp_path: Path) -> None:
    run = command(tmp_path / "nohup", snp_firmware, "tcg", "--until", "dxe")
    process = subprocess.Popen(["nohup", *run], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    try:
        # By then the command has said what it does with signals.
        wait_for("QEMU", process, lambda: qemu_of(process) is not None)
        process.send_signal(signal.SIGHUP)
        stdout, _ = process.communicate(timeout=DEADLINE_S)
    finally:
        finish(process)
    assert process.returncode == EXIT_VIOLATED
    assert stdout.startswith("violated")


def at_start(process: subprocess.Popen[str], _out: Path) -> bool:
    return qemu_of(process) is not None


def in_sec(process: subprocess.Popen[str], out: Path) -> bool:
    """The host has written something: the guest runs, and its firmware hangs in SEC."""
    log = out / "host.log"
    return log.exists() and log.stat().st_size > 0


def at_shell(process: subprocess.Popen[str], out: Path) -> bool:
    serial = out / "serial.log"
    return serial.exists() and b"startup.nsh" in serial.read_bytes()


@pytest.mark.parametrize(
    ("platform", "moment"),
    [
        pytest.param("emulated", at_start, marks=pytest.mark.emulated),
        pytest.param("emulated", in_sec, marks=pytest.mark.emulated),
        pytest.param("emulated", at_shell, marks=[pytest.mark.emulated, pytest.mark.slow]),
        pytest.param("tcg", at_start, marks=pytest.mark.tcg),
        pytest.param("tcg", at_shell, marks=[pytest.mark.tcg, pytest.mark.slow]),
    ],
)
def test_sigkill_leaves_no_qemu(
    start: Command, platform: str, moment: Callable[..., bool], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    firmware = request.getfixturevalue("hanging") if moment is in_sec else None
    process = start(platform, firmware)
    wait_for(f"the moment {moment.__name__}", process, lambda: moment(process, tmp_path / "out"))
    qemu = qemu_of(process)
    assert qemu is not None
    process.kill()
    process.wait(DEADLINE_S)
    assert wait_for_end(qemu, DEADLINE_S)


@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_run_that_was_killed_has_a_timeline(
    start: Command, platform: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    process = start(platform)
    wait_until_past_sec(process, tmp_path / "out")
    process.kill()
    process.wait(DEADLINE_S)
    assert not (tmp_path / "out" / "timeline.jsonl").exists()
    assert main(["timeline", "--json", str(tmp_path / "out")]) == 0
    timeline = Timeline.from_jsonl(capsys.readouterr().out)
    assert timeline.platform == platform
    assert not timeline.complete
    assert register_accesses(timeline, Phase.SEC) == len(SEVEN)
    assert told([access for access in timeline.accesses if not access.is_base][: len(SEVEN)]) == SEVEN
    if platform == "emulated":
        assert timeline.alternate_injection is False
        assert len(timeline.launch_digest or "") == 96
        assert {access.module for access in timeline.accesses if access.phase is Phase.SEC} == {"SecMain"}
    # --as-if-active of the run that was killed counts.
    assert main(["report", str(tmp_path / "out")]) == EXIT_VIOLATED
    assert "the harness was stopped before the end of the run" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("platform", PLATFORMS)
def test_sigkill_at_any_moment_leaves_no_process(start: Command, platform: str, tmp_path: Path) -> None:
    seen = 0
    begun = time.monotonic()
    first = start(platform)
    wait_for("QEMU", first, lambda: qemu_of(first) is not None)
    until_qemu_s = min(time.monotonic() - begun, 3)
    finish(first)
    assert all(wait_for_end(pid, DEADLINE_S) for pid in running_with(str(tmp_path / "out")))
    for step in range(40):
        process = start(platform)
        # Not for anything that happens: the moment itself is what is tried.
        time.sleep(3 * until_qemu_s * step / 40)
        seen += qemu_of(process) is not None
        process.kill()
        process.wait(DEADLINE_S)
        # QEMU is started with a path of the run directory, and the command too.
        assert all(wait_for_end(pid, DEADLINE_S) for pid in running_with(str(tmp_path / "out")))
    assert seen > 5


#: Bytes of a file: more than a launch list has, less than the raw log at level 3.
LIMIT = 16 << 20


@pytest.mark.slow
@pytest.mark.emulated
def test_a_disk_that_is_full_keeps_the_partial_timeline(snp_firmware: Path, tmp_path: Path) -> None:
    """A limit of the file size stands for the disk: the raw log at level 3 reaches 16 MiB in some seconds."""
    config = tmp_path / "config.toml"
    config.write_text("[svsm]\nalternate_injection = false\n[log]\nlevel = 3\n")
    out = tmp_path / "out"
    run = command(out, snp_firmware, "emulated", "--until", "shell", "--svsm-config", str(config))
    limit = (resource.RLIMIT_FSIZE, (LIMIT, LIMIT))
    done = subprocess.run(
        run, capture_output=True, text=True, timeout=DEADLINE_S, preexec_fn=lambda: resource.setrlimit(*limit)
    )
    assert done.returncode == EXIT_ENVIRONMENT
    (line,) = (line for line in done.stderr.splitlines() if "error:" in line)
    assert f"cannot write {out / 'host.log'}: File too large: make room, or name another directory" in line
    timeline = partial_timeline(out)
    assert register_accesses(timeline, Phase.SEC) == len(SEVEN)
    assert timeline.gaps[0].startswith(f"cannot write {out / 'host.log'}")
    assert (out / "host.log").stat().st_size == LIMIT


@pytest.mark.emulated
@pytest.mark.parametrize("size", [1, 600, 2048, 4400, pytest.param(5500, marks=pytest.mark.slow)])
def test_a_disk_that_is_full(snp_firmware: Path, tmp_path: Path, size: int) -> None:
    """A real one of so many KiB: the ROM takes 4 MiB or is in memory, logs the rest, which the timeline replaces."""
    disk = tmp_path / "disk"
    disk.mkdir()
    config = tmp_path / "config.toml"
    config.write_text("[log]\nlevel = 2\n")  # megabytes of records, on a fast machine as well
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}k", "none", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("this user may not mount a small tmpfs")
    try:
        done = subprocess.run(
            command(disk / "out", snp_firmware, "emulated", "--until", "shell", "--svsm-config", str(config)),
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
        )
        assert done.returncode == EXIT_ENVIRONMENT
        (line,) = (line for line in done.stderr.splitlines() if "error:" in line)
        assert "No space left on device: make room, or name another directory with --out" in line
        assert "internal error" not in done.stderr
        if size == 1:
            # It has one page, which run.json takes: QEMU is not started.
            assert "command-line.txt" in line
            assert not done.stdout
            return
        assert done.stdout.splitlines()[0].endswith("(emulated SNP host, not hardware)")
        assert done.stdout.startswith("violated: 7 local-APIC accesses in SEC")
        assert register_accesses(partial_timeline(disk / "out"), Phase.SEC) == len(SEVEN)
        assert not (disk / "out" / "snp.rom").is_symlink()
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.tcg
def test_two_commands_cannot_have_the_same_directory(start: Command, tmp_path: Path) -> None:
    first = start("tcg")
    wait_until_past_sec(first, tmp_path / "out")
    second = start("tcg")
    _, stderr = second.communicate(timeout=DEADLINE_S)
    assert second.returncode == EXIT_USAGE
    assert f"another run is writing to {tmp_path / 'out'}: name another directory with --out" in stderr
    first.send_signal(signal.SIGTERM)
    first.communicate(timeout=DEADLINE_S)
    assert register_accesses(partial_timeline(tmp_path / "out"), Phase.SEC) == len(SEVEN)


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
def test_timeline_prints_what_was_recorded(
    start: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Lines are cut to a terminal's width.
    monkeypatch.delenv("COLUMNS", raising=False)
    start("tcg", None, "--quiet").communicate(timeout=DEADLINE_S)
    from snp_harness.cli import main as cli

    assert cli.main(["timeline", str(tmp_path / "out")]) == 0
    text = capsys.readouterr().out
    # PEI has some, too, where the run ends late.
    assert len(re.findall(r" SEC .* Timer LVT ", text)) == 4
    assert "-- SEC, inferred: " in text
