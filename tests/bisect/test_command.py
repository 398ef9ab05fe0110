# SPDX-License-Identifier: GPL-2.0-or-later
"""`snp-harness bisect` as a command: what it checks first, what it reports, how it ends."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from snp_harness.bisect.log import LOG
from snp_harness.bisect.search import GIT_LOG, WORKTREE
from snp_harness.cli.main import main
from snp_harness.debian import qemu_bundle
from snp_harness.edk2 import tools
from snp_harness.platforms import rom
from tests.bisect.histories import History, Oracle
from tests.edk2.trees import write_tree
from tests.vm.processes import descendants, fifo, line_of, wait_for_end
from tests.vm.qemus import script

ROOT = Path(__file__).parents[2]


@pytest.fixture
def history(edk2: Path) -> History:
    """A history whose builds are scripts, on a machine that lacks nothing."""
    return History(edk2)


@pytest.fixture
def nothing_built(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing may be downloaded or built."""

    def find_tools(*_: object) -> None:
        pytest.fail("the tools of a build were looked for")

    monkeypatch.setattr(tools, "find_tools", find_tools)


def command(history: History, name: str) -> list[str]:
    arguments = [name, "--repo", str(history.directory), "--quiet"]
    return [*arguments, *(["--good=HEAD~8", "--bad=HEAD", "--state=state"] if name == "bisect" else [])]


@pytest.mark.usefixtures("nothing_built")
@pytest.mark.parametrize("name", ["bisect", "bisect-step"])
@pytest.mark.parametrize("lacking", ["QEMU", "new QEMU", "emulated SNP host", "repository", "commit", "qemu option"])
def test_what_is_missing_is_reported_before_anything_is_built(
    history: History,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    lacking: str,
) -> None:
    arguments = command(history, name)
    if lacking == "QEMU":
        monkeypatch.setenv("SNP_HARNESS_QEMU", "/nowhere/qemu")
    elif lacking == "new QEMU":
        script(tmp_path / "qemu", "QEMU emulator version 5.2.0")
    elif lacking == "emulated SNP host":
        monkeypatch.setattr(rom, "HYPERVISOR_IMAGE", tmp_path / "missing")
    elif lacking == "repository":
        arguments += ["--repo", "/nowhere/edk2"]
    elif lacking == "commit":
        arguments += ["--bad", "nowhere"] if name == "bisect" else ["--commit", "nowhere"]
    else:
        arguments += ["--qemu", "/nowhere/qemu"]
    status = main(arguments)
    assert status == 2 if name == "bisect" and lacking in ("repository", "commit") else status >= 128
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("snp-harness: error: ")
    expected = {"new QEMU": "QEMU 5.2.0", "emulated SNP host": "emulated SNP host"}.get(lacking, "nowhere")
    assert expected in line
    assert not (tmp_path / "state").exists()


@pytest.mark.usefixtures("nothing_built")
@pytest.mark.parametrize("name", ["bisect", "bisect-step"])
def test_a_qemu_of_a_debian_suite(
    history: History, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """It is fetched when everything that needs no download was looked at."""
    fetched = []

    def named(spec: str, *_: object) -> Path:
        fetched.append(spec)
        return Path("/nowhere/bundle")

    monkeypatch.setattr(qemu_bundle, "named_qemu", named)
    arguments = [*command(history, name), "--qemu", "debian:sid", *(["--commit=HEAD"] if name == "bisect-step" else [])]
    assert main([*arguments, "--repo", "/nowhere/edk2"]) >= 2
    assert not fetched
    assert main(arguments) >= 128
    assert fetched == ["debian:sid"]
    assert "/nowhere/bundle" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.usefixtures("nothing_built")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--bad", "HEAD~8"], "are the same commit"),
        (["--rule", "unknown"], "'unknown' is not a rule"),
        (["--vcpus", "1000"], "1000 vCPUs"),
        (["--platform", "unknown"], "no platform is named"),
        (["--svsm-config", "unknown"], "unknown"),
        (["--define", "unknown"], "unknown"),
        (["--series", "/nowhere"], "/nowhere"),
    ],
)
def test_a_wrong_question_is_refused_before_anything_is_built(
    history: History, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main([*command(history, "bisect"), *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_a_skip_is_explained_and_can_be_retried(
    history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    oracle = Oracle(tmp_path / "oracle")
    monkeypatch.setattr("snp_harness.cli.bisect.step_command", lambda *_: oracle.command)
    commits = history.commits[-9:]
    table = dict.fromkeys(commits[:4], "good") | dict.fromkeys(commits[4:], "bad")
    oracle.answer(table | {commits[4]: "skip"})
    arguments = command(history, "bisect")
    assert main(arguments) == 3
    said = capsys.readouterr()
    skipped = f"{commits[4][:12]} skip, reason: subject"
    assert skipped in said.err.replace("snp-harness: ", "").splitlines()
    assert said.out.splitlines()[:8] == [
        "the first bad commit is one of these; the others gave no answer:",
        f"  {commits[4][:12]} change 16",
        f"  {commits[5][:12]} change 17",
        f"  before  {commits[3][:12]} good, reason: subject",
        f"  after   {commits[5][:12]} bad, reason: subject",
        f"  steps   {len(oracle.asked) - 2}, and the two ends",
        f"  skipped {skipped}",
        "  to test what was skipped again, repeat the command with --retry-skipped",
    ]
    assert main(arguments) == 3
    assert capsys.readouterr().out == said.out
    oracle.answer(table)
    assert main([*arguments, "--retry-skipped"]) == 0
    assert capsys.readouterr().out.startswith(f"first bad commit: {commits[4]} subject\n")


def test_the_good_commit_may_be_the_newer_one(
    history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    oracle = Oracle(tmp_path / "oracle")
    monkeypatch.setattr("snp_harness.cli.bisect.step_command", lambda *_: oracle.command)
    commits = history.commits[-9:]
    oracle.answer(dict.fromkeys(commits[:3], "bad") | dict.fromkeys(commits[3:], "good"))
    assert main([*command(history, "bisect"), "--good=HEAD", "--bad=HEAD~8"]) == 0
    assert capsys.readouterr().out.startswith(
        f"the contract holds from {commits[3]} subject\n  before  {commits[2][:12]} bad"
    )


def test_relative_paths_and_an_end_without_an_answer(
    history: History, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A step works in another directory; the paths of the command line are those of the command."""
    history("add", "-A")
    history("commit", "-qm", "a")
    history("commit", "-qm", "b", "--allow-empty")
    write_tree(tmp_path, {"series": b"# no patch\n"})
    arguments = ["bisect", "--repo", "edk2", "--good", "HEAD~1", "--bad", "HEAD", "--state", "state", "--quiet"]
    assert main([*arguments, "--series", "series", "--qemu", "qemu"]) == 2
    *_, skip, error = capfd.readouterr().err.splitlines()
    end = history("rev-parse", "HEAD~1")[:12]
    assert skip.startswith(f"snp-harness: {end} skip, ")
    assert "it does not build" in skip
    assert error.startswith(f"snp-harness: error: the end {end} has no answer: it does not build")


@pytest.fixture
def hanging(history: History, tmp_path: Path) -> list[str]:
    """A bisection whose builds do not end, but write their process to the FIFO tmp_path/pid."""
    build = history.directory / "BaseTools/BinWrappers/PosixLike/build"
    build.write_text(f"#!/bin/sh\necho $$ > {fifo(tmp_path / 'pid')}\nexec sleep 3600\n")
    history("add", "-A")
    for number in range(3):
        history("commit", "-qm", str(number), "--allow-empty")
    argv = [sys.executable, "-m", "snp_harness", "bisect", "--repo", str(history.directory)]
    return [*argv, "--good", "HEAD~2", "--bad", "HEAD", "--state", str(tmp_path / "state")]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("phase", ["end", "search"])
def test_nothing_of_a_bisection_outlives_it(
    history: History, hanging: list[str], tmp_path: Path, number: signal.Signals, phase: str
) -> None:
    """git, the step, its build and the processes of the build end with it, in any way; the same command continues."""
    state = tmp_path / "state"
    if phase == "search":
        assert interrupted(hanging, tmp_path, signal.SIGTERM).status == 128 + signal.SIGTERM
        judge(state, history("rev-parse", "HEAD~2"), "good")
        judge(state, history("rev-parse", "HEAD"), "bad")
    before = history.state()
    ended = interrupted(hanging, tmp_path, number)
    assert ("git" in ended.programs) is (phase == "search")
    if number == signal.SIGKILL:
        assert ended.status == -number
        # The worktree that it left is removed by the next one.
        ended = interrupted(hanging, tmp_path, signal.SIGTERM)
        assert ("git" in ended.programs) is (phase == "search")
        number = signal.SIGTERM
    assert ended.status == 128 + number
    word = "interrupted" if number == signal.SIGINT else "terminated"
    assert [line for line in ended.messages if "error" in line] == [f"snp-harness: error: {word}"]
    assert not (state / WORKTREE).exists()
    assert (state / GIT_LOG).exists() is (phase == "search")
    assert history.state() == before


def test_a_second_bisection_of_the_same_is_refused(hanging: list[str], tmp_path: Path) -> None:
    with subprocess.Popen(hanging, cwd=ROOT, stderr=subprocess.DEVNULL) as process:
        line_of(tmp_path / "pid")
        second = subprocess.run(hanging, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
        process.terminate()
        assert process.wait(300) == 128 + signal.SIGTERM
    assert second.returncode == 2
    (line,) = second.stderr.splitlines()
    assert f"{tmp_path / 'state'} is in use by process {process.pid} on " in line


@dataclass(frozen=True)
class Ended:
    """How a bisection ended. programs: the names of the processes that it had."""

    status: int
    messages: list[str]
    programs: list[str]


def judge(state: Path, commit: str, judgement: str) -> None:
    """Add an answer to the log, as if the step had been made."""
    step = {"commit": commit, "subject": "subject", "judgement": judgement, "reason": "reason"}
    with (state / LOG).open("a") as log:
        log.write(json.dumps({"step": step}) + "\n")


def interrupted(argv: list[str], tmp_path: Path, number: signal.Signals) -> Ended:
    """Run a bisection until it builds and send it a signal; returns when nothing of it runs."""
    with subprocess.Popen(argv, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        build = int(line_of(tmp_path / "pid"))
        pids = [process.pid, *descendants(process.pid)]
        assert build in pids
        programs = [Path(f"/proc/{pid}/comm").read_text().strip() for pid in pids]
        process.send_signal(number)
        _, messages = process.communicate(timeout=300)
    assert all(wait_for_end(pid, 300) for pid in pids)
    return Ended(process.returncode, messages.splitlines(), programs)
