# SPDX-License-Identifier: GPL-2.0-or-later
"""What a step reports about a commit, and that only an answer about a commit blames it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from snp_harness.apic.verdict import RuleResult, Status, Verdict
from snp_harness.bisect.step import Judgement, Question, Step, as_environment
from snp_harness.cli.main import main
from snp_harness.edk2.git import GitError
from snp_harness.edk2.tools import ToolError
from snp_harness.errors import BrokenEnvironmentError, UsageError
from snp_harness.svsm.config import SvsmConfig
from tests.apic.samples import timeline
from tests.edk2.trees import write_tree

RULE = "x2apic-before-sec"


def question(rule: str | None = None) -> Question:
    return Question("emulated", SvsmConfig(), "sec", 60.0, rule)


def verdict(status: Status, *results: RuleResult) -> Verdict:
    return Verdict(status, results, "emulated", "witness", "observed", frozenset())


@pytest.mark.parametrize(
    ("status", "judgement", "exit_status"),
    [
        (Status.HOLDS, Judgement.GOOD, 0),
        (Status.VIOLATED, Judgement.BAD, 1),
        (Status.INCONCLUSIVE, Judgement.SKIP, 125),
    ],
)
@pytest.mark.parametrize("rule", [None, RULE])
def test_a_verdict_is_an_answer(status: Status, judgement: Judgement, exit_status: int, rule: str | None) -> None:
    said = question(rule).judge(verdict(status, RuleResult(RULE, status, "why")), timeline())
    assert said[0] is judgement
    assert said[0].exit_status() == exit_status
    assert said[0].exit_status(find_fix=True) == {0: 1, 1: 0, 125: 125}[exit_status]
    assert status.value in said[1]
    assert ("why" in said[1]) is (judgement is not Judgement.GOOD)


def test_one_rule_is_judged_alone() -> None:
    both = verdict(
        Status.VIOLATED,
        RuleResult(RULE, Status.HOLDS, "x2APIC mode first"),
        RuleResult("no-refused-access", Status.VIOLATED, "one refused"),
    )
    assert question(RULE).judge(both, timeline())[0] is Judgement.GOOD
    assert question("no-refused-access").judge(both, timeline())[0] is Judgement.BAD
    assert question().judge(both, timeline())[1] == "contract violated (no-refused-access: one refused)"


def test_an_unknown_rule_is_named() -> None:
    with pytest.raises(UsageError, match="is not a rule"):
        question("x2apic")


@pytest.mark.parametrize("error", [UsageError("x"), BrokenEnvironmentError("x"), ToolError("x"), GitError("x")])
def test_an_error_that_is_no_answer_ends_the_bisection(error: UsageError) -> None:
    assert as_environment(error).exit_status >= 128


def test_a_step_survives_the_log() -> None:
    step = Step("c" * 40, "subject", Judgement.BAD, "reason", 1.5, 0.7, "SEC", "offence", "/runs/x")
    assert Step.from_json(json.loads(json.dumps(step.to_json()))) == step
    assert step.line() == f"{'c' * 12} bad, build 1.5 s (SEC), boot 0.7 s, reason, offence: subject"


def bisect_step(*arguments: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "snp_harness", "bisect-step", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        cwd=Path(__file__).parents[2],
    )


def test_a_source_that_does_not_build_is_left_out(edk2: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_tree(edk2, {"Pkg/code.c": b"error: unfinished\n"})
    assert main(["bisect-step", "--repo", str(edk2), "--quiet"]) == 125
    assert "does not build: 1:error: unfinished" in capsys.readouterr().out


def test_an_image_that_is_none_is_left_out(edk2: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_tree(edk2, {"Pkg/code.c": b"no firmware\n"})
    assert main(["bisect-step", "--repo", str(edk2), "--quiet"]) == 125
    assert "the image cannot be run" in capsys.readouterr().out


def test_a_patch_that_does_not_apply_leaves_the_commit_out(edk2: Path, tmp_path: Path) -> None:
    write_tree(tmp_path, {"series": b"a.patch\n", "a.patch": b"--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n"})
    assert main(["bisect-step", "--repo", str(edk2), "--quiet", "--series", str(tmp_path / "series")]) == 125


@pytest.mark.parametrize(
    "arguments",
    [
        ("--typo",),
        ("--until", "never"),
        ("--", "-m", "1"),
        ("--repo", "/nowhere"),
        ("--rule", "no-rule"),
        ("--svsm-config", "no-configuration"),
        ("--platform", "no-platform"),
        ("--edk2-platform", "NoPkg"),
        ("--define", "nothing"),
        ("--series", "/nowhere"),
    ],
)
def test_a_wrong_command_line_ends_the_bisection(edk2: Path, arguments: tuple[str, ...]) -> None:
    """Status 2, as elsewhere, would tell `git bisect run` that the commit is bad."""
    repo = () if "--repo" in arguments else ("--repo", str(edk2))
    try:
        status: int | str | None = main(["bisect-step", *repo, *arguments])
    except SystemExit as end:
        status = end.code
    assert isinstance(status, int)
    assert status >= 128


def test_help_is_no_error() -> None:
    assert bisect_step("--help").returncode == 0


@pytest.mark.parametrize("missing", ["git", "gcc"])
def test_a_missing_program_ends_the_bisection(edk2: Path, tmp_path: Path, missing: str) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("git", "gcc", "g++", "ld", "objcopy", "make", "nasm", "iasl", "sh"):
        found = subprocess.run(["which", name], capture_output=True, text=True, check=False).stdout.strip()
        if found and name != missing:
            (tools / name).symlink_to(found)
    done = bisect_step(
        *("--repo", str(edk2), "--qemu", str(tmp_path / "qemu")),
        environment={"PATH": str(tools), "XDG_CACHE_HOME": str(tmp_path / "cache"), "HOME": "/"},
    )
    assert done.returncode >= 128
    assert missing in done.stderr
