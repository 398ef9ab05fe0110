# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import errno
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from snp_harness import __version__
from snp_harness.apic.access import Phase
from snp_harness.apic.timeline import Timeline
from snp_harness.cli import arguments as grammar
from snp_harness.cli import main as cli
from snp_harness.errors import BrokenEnvironmentError, HarnessError, UsageError
from snp_harness.platforms import platform_names
from snp_harness.platforms.platform import UNTIL_NAMES, RunSpec

#: Modules that the command must not load before QEMU runs: each costs tens of milliseconds of the second it has.
HEAVY = ("asyncio", "rich", "pexpect", "qemu", "cryptography")


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    timeline = Timeline(
        accesses=(),
        phases=(),
        events=(),
        witness="test",
        platform="emulated",
        complete=False,
        gaps=("it was stopped",),
        not_observed=frozenset({"pc"}),
        reached=Phase.SEC,
        alternate_injection=True,
        svsm=True,
    )
    (tmp_path / "timeline.jsonl").write_text(timeline.to_jsonl(), encoding="utf-8")
    return tmp_path


def exit_status(*arguments: str) -> int:
    """The status of the command, whether main returns it or argparse exits with it."""
    try:
        return cli.main(arguments)
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else -1


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_status("--version") == 0
    assert capsys.readouterr().out == f"snp-harness {__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("boot",),
        ("run", "--unknown"),
        ("run", "--until", "os"),
        ("run", "--vcpus", "0"),
        ("run", "--vcpus", "two"),
        ("run", "--timeout", "0"),
        ("run", "--timeout", "nan"),
        ("run", "--timeout", "inf"),
        ("run", "--timeout", "-1"),
        ("run", "--timeout", "soon\nnow"),
        ("run", "--memory", "0"),
        ("run", "--vcpus", "99999999999999999999x"),
        ("run", "--firmware", ""),
        ("run", "--svsm-config", ""),
        ("run", "--qemu", ""),
        ("run", "--out", ""),
        ("run", "--firm", "x"),
        ("doctor", "--", "-m", "1G"),
        ("fetch", "kernel"),
        ("timeline",),
    ],
)
def test_usage_errors_have_status_2_and_no_traceback(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_status(*arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("snp-harness: error: ")
    assert captured.err.count("\n") == 1
    assert "--help" in captured.err


def test_defaults_are_those_of_a_run() -> None:
    options = grammar.build_parser().parse_args(["run"])
    spec = RunSpec(Path("firmware.fd"))
    assert UNTIL_NAMES[options.until] is spec.goal
    assert options.timeout == spec.timeout_s
    assert options.platform == platform_names()[0]


def test_extra_arguments_are_taken_from_the_first_dashes_on() -> None:
    assert grammar.split_extra(["run", "--json"]) == (["run", "--json"], ())
    assert grammar.split_extra(["run", "--", "-m", "--", "x"]) == (["run"], ("-m", "--", "x"))
    assert grammar.split_extra(["run", "--"]) == (["run"], ())


@pytest.mark.parametrize(
    ("raised", "status", "line"),
    [
        (UsageError("no such thing", "name another"), 2, "no such thing: name another"),
        (BrokenEnvironmentError("QEMU is\nmissing"), 128, "QEMU is missing"),
        (HarnessError("odd"), 128, "odd"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (cli.Terminated(), 143, "terminated"),
        (cli.Terminated(signal.SIGHUP), 129, "terminated"),
        (OSError(errno.EMFILE, "Too many open files"), 128, "the system: Too many open files: see df and ulimit -a"),
    ],
)
def test_what_a_command_raises_is_one_line_and_a_status(
    raised: BaseException,
    status: int,
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(_options: object) -> int:
        raise raised

    monkeypatch.setattr(cli, "_doctor", fail)
    assert cli.main(["doctor"]) == status
    assert capsys.readouterr().err == f"snp-harness: error: {line}\n"


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


def test_the_command_line_loads_nothing_heavy() -> None:
    program = (
        "import sys; from snp_harness.cli import arguments, main; arguments.build_parser().parse_args(['run']);"
        f"print(*[name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout.split() == []
