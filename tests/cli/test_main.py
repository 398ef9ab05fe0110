# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import errno
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from snp_harness import __version__
from snp_harness.cli import main as cli
from snp_harness.errors import BrokenEnvironmentError, HarnessError, UsageError
from snp_harness.launch.interrupts import Terminated
from snp_harness.platforms import platform_names
from snp_harness.platforms.platform import UNTIL_NAMES, RunSpec

#: Modules that the command must not load before QEMU runs: each costs tens of milliseconds of the second it has.
HEAVY = ("asyncio", "rich", "pexpect", "qemu")


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
        ("run", "--until", "login"),
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
    options = cli.build_parser(["run"]).parse_args(["run"])
    spec = RunSpec(Path("firmware.fd"))
    assert UNTIL_NAMES[options.until] is spec.goal
    assert options.timeout == spec.timeout_s
    assert options.platform == platform_names()[0]


def test_extra_arguments_are_taken_from_the_first_dashes_on() -> None:
    assert cli.split_extra(["run", "--json"]) == (["run", "--json"], ())
    assert cli.split_extra(["run", "--", "-m", "--", "x"]) == (["run"], ("-m", "--", "x"))
    assert cli.split_extra(["run", "--"]) == (["run"], ())


@pytest.mark.parametrize(
    ("raised", "status", "line"),
    [
        (UsageError("no such thing", "name another"), 2, "no such thing: name another"),
        (BrokenEnvironmentError("QEMU is\nmissing"), 128, "QEMU is missing"),
        (HarnessError("odd"), 128, "odd"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (Terminated(signal.SIGINT), 130, "interrupted"),
        (Terminated(), 143, "terminated"),
        (Terminated(signal.SIGHUP), 129, "terminated"),
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

    monkeypatch.setattr("snp_harness.cli.doctor.execute", fail)
    assert cli.main(["doctor"]) == status
    assert capsys.readouterr().err == f"snp-harness: error: {line}\n"


def test_the_command_line_loads_nothing_heavy() -> None:
    program = (
        "import sys; from snp_harness.cli import main; main.build_parser(['run']).parse_args(['run']);"
        f"print(*[name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_only_the_sub_command_that_is_called_is_loaded(name: str) -> None:
    program = (
        f"import sys; from snp_harness.cli import main; main.build_parser([{name!r}]);"
        "print(*[name for name, _ in main.COMMANDS.values() if 'snp_harness.cli.' + name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=True)
    # A bisection has the options of a build.
    assert set(done.stdout.split()) - {"firmware"} == {cli.COMMANDS[name][0]} - {"firmware"}
    assert exit_status(name, "--help") == 0


def test_help_lists_every_sub_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_status("--help") == 0
    listed = re.findall(r"^    (\S+)", capsys.readouterr().out, re.MULTILINE)
    assert listed == list(cli.COMMANDS)


def test_an_unknown_sub_command_is_answered_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_status("boot") == 2
    error = capsys.readouterr().err
    assert all(name in error for name in cli.COMMANDS)
