# SPDX-License-Identifier: GPL-2.0-or-later
"""Every command that the documents and the help show is accepted by the command line, and run by a test."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from snp_harness.cli import main as cli
from snp_harness.cli.completion import inner_parsers, parsers
from snp_harness.conformance.image import open_guest
from snp_harness.firmware.image import FirmwareImage
from tests.commands import NOT_RUN, RUN_BY, Command, begins, commands, page_lines, run_here, shell_words
from tests.documents import ROOT
from tests.firmware.conftest import trixie_path
from tests.helpers.reference_svsm import write_reference

__all__ = ["trixie_path"]

COMMANDS = commands()
#: Text that looks like a command.
NOT_COMMANDS = ("snp-harness test",)
#: Parts of lines that take longer than a few seconds.
SLOW = ("--until shell", "--guest linux", "--igvm", "conformance", "svsm-test", "run --firmware")
#: Directories of a recorded run, where a line only reads it.
RUNS = re.compile(r"(?<!--out )\b(?:DIR|RUN|out/\w+|runs/[\w-]+|(?<=report )out)\b")
#: Commands whose exit status is a verdict.
VERDICTS = re.compile(r"snp-harness (?:run|report|judge|diff|conformance) ")


@pytest.mark.parametrize("command", [one for one in COMMANDS if not begins(one, NOT_COMMANDS)], ids=str)
def test_the_command_line_accepts_it(command: Command) -> None:
    """A command as it is; of a synopsis, or of a name, the command and each option."""
    words = shell_words(command.line)
    if words is None:
        return
    name = words[0].partition("|")[0]
    assert name in cli.COMMANDS
    if command.synopsis or command.name:
        assert set(re.findall(r"(?<![\w-])--[a-z-]+", command.line)) <= options(name)
    else:
        own, _ = cli.split_extra(words)
        cli.build_parser(own).parse_args(own)


def options(name: str) -> set[str]:
    """The options of a command, and of the commands in it."""
    [found] = [parser for command, _, parser in parsers() if command == name]
    both = (found, *(one for action in found._actions for one in inner_parsers(action)))
    return {option for parser in both for action in parser._actions for option in action.option_strings}


@pytest.mark.parametrize("begin", RUN_BY)
def test_what_runs_it_is_there(begin: str) -> None:
    by = RUN_BY[begin]
    assert by.text in (ROOT / by.file).read_text(encoding="utf-8"), by
    assert [command for command in COMMANDS if begins(command, [begin])], f"nothing shows {begin!r}"


@pytest.mark.parametrize("begin", NOT_RUN)
def test_what_is_not_run_is_shown(begin: str) -> None:
    assert [command for command in COMMANDS if begins(command, [begin])], f"nothing shows {begin!r}"


def test_targets_of_make_are_there() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = {found[1] for command in COMMANDS if (found := re.match(r"make ([a-z-]+)$", command.line))}
    assert len(targets) > 8
    for target in targets - {"test-igvm"}:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_what_is_a_command_line() -> None:
    page = """
A sentence with `snp-harness doctor --json` and `--quiet`, and `make test`.

    snp-harness run F \\
        --quiet       # a comment
    run: 4

```yaml
- run: snp-harness report out > x
```
```text
snp-harness: error: no
```
"""
    assert list(page_lines(page)) == [
        ("snp-harness report out > x", False),
        ("snp-harness run F --quiet", False),
        ("snp-harness doctor --json", True),
        ("make test", True),
    ]


@pytest.fixture(scope="module")
def recorded(trixie_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recorded run."""
    directory = tmp_path_factory.mktemp("recorded") / "run"
    argv = [sys.executable, "-m", "snp_harness", "run", "--quiet", str(trixie_path), "--out", str(directory)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 1, done.stderr
    return directory


def parameters() -> Iterator[object]:
    """The commands that are run here, those that take long or build edk2 with their markers."""
    for command in run_here():
        marks = [pytest.mark.slow] if any(part in command.line for part in SLOW) else []
        if "firmware build" in command.line:
            marks = [pytest.mark.slow, pytest.mark.edk2]
        yield pytest.param(command, marks=marks, id=command.line)


@pytest.mark.emulated
@pytest.mark.parametrize("command", list(parameters()))
def test_it_runs(command: Command, recorded: Path, trixie_path: Path, tmp_path: Path) -> None:
    """In a directory with the files that it names. The IGVM files of COCONUT-SVSM are the reference SVSM's here."""
    line = command.line
    for name in set(RUNS.findall(line)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).symlink_to(recorded)
    (tmp_path / "OVMF.fd").symlink_to(trixie_path)
    (tmp_path / "trace.txt").symlink_to(ROOT / "tests/capture/kvm_traces/6.12.txt")
    # A busy machine fails no test: Linux needs many times what it needs on one that has nothing else to do.
    (tmp_path / "pyproject.toml").write_text("[tool.snp-harness]\ntimeout = 800\n")
    if ".igvm" in line:
        image = open_guest() if " conformance " in f" {line}" else FirmwareImage.open(trixie_path)
        write_reference(tmp_path / "coconut-qemu.igvm", image, "alternate-injection")
        write_reference(tmp_path / "coconut-test-qemu.igvm", image, "alternate-injection", self_test=True)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", line],
        cwd=tmp_path,
        env={**os.environ, "PATH": path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    statuses = (0, 1, 3) if VERDICTS.search(line) else (0,)
    assert done.returncode in statuses, f"{done.stdout}{done.stderr}"
    assert "error: " not in done.stderr
