# SPDX-License-Identifier: GPL-2.0-or-later
"""docs/ci.md: its files are what the CI systems read, and their commands are run, on a stock firmware.

Of docs/ci-svsm.md the form of its workflow: test_action.py runs the action that it uses.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from junitparser import JUnitXml

from tests.documents import DOCS, ROOT, files, page_text

yaml = pytest.importorskip("yaml")
BIN = Path(sys.executable).parent
PAGE = files(page_text(DOCS / "ci.md"))
#: A commit, for the one that the pages leave open.
OURS = files(page_text(DOCS / "ci-svsm.md"))[".github/workflows/svsm.yml"].replace("@COMMIT", f"@{'0' * 40}")
GITHUB, GITLAB, PLAN = ".github/workflows/apic.yml", ".gitlab-ci.yml", "plans/apic.fmf"
HEADLINE = "violated: 7 local-APIC accesses in SEC before x2APIC mode"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Somebody's repository with the files of the page."""
    for name, text in PAGE.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755 if name.endswith(".sh") else 0o644)
    return tmp_path


@pytest.fixture
def built(repository: Path, snp_firmware: Path) -> Path:
    """The same with a build that makes a stock firmware."""
    program = repository / "build-firmware"
    program.write_text(f'#!/bin/sh\nmkdir -p "$(dirname "$1")"\ncp "{snp_firmware}" "$1"\n')
    program.chmod(0o755)
    return repository


def call(argv: list[str | Path], directory: Path, **environment: str) -> tuple[int, str]:
    """Status and output of a command, with an environment like a CI's."""
    done = subprocess.run(
        argv,
        cwd=directory,
        env={**{name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        check=False,
    )
    return done.returncode, done.stdout


def bash(script: str, directory: Path, **environment: str) -> tuple[int, str]:
    return call(["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script], directory, **environment)


def checked(*argv: str | Path, directory: Path) -> None:
    status, output = call([BIN / argv[0], *argv[1:]], directory)
    assert status == 0, output


def test_their_schemas(repository: Path) -> None:
    checked("check-jsonschema", "--builtin-schema", "vendor.github-workflows", GITHUB, directory=repository)
    checked("check-jsonschema", "--builtin-schema", "vendor.gitlab-ci", GITLAB, directory=repository)


def test_tmt_reads_its_files(repository: Path) -> None:
    status, output = call([BIN / "tmt", "lint"], repository)
    assert status == 0, output
    assert "pass T002 test script is defined" in output
    assert not re.search(r"^(warn|fail)", output, re.MULTILINE), output


def test_the_workflow_is_safe(repository: Path) -> None:
    checked("zizmor", "--offline", "--quiet", GITHUB, directory=repository)


def test_the_workflow_of_an_svsm(tmp_path: Path) -> None:
    directory = tmp_path / ".github" / "workflows"
    directory.mkdir(parents=True)
    (directory / "svsm.yml").write_text(OURS)
    checked("check-jsonschema", "--builtin-schema", "vendor.github-workflows", "svsm.yml", directory=directory)
    checked("zizmor", "--offline", "--quiet", "svsm.yml", directory=directory)


@pytest.mark.parametrize("workflow", [PAGE[GITHUB], OURS])
def test_actions_are_those_of_our_own_workflows(workflow: str) -> None:
    pinned = re.compile(r"uses: (actions/\S+@[0-9a-f]{40} # v\S+)$", re.MULTILINE)
    own = {found for path in (ROOT / ".github/workflows").glob("*.yml") for found in pinned.findall(path.read_text())}
    used = pinned.findall(workflow)
    assert len(used) == 2
    assert set(used) <= own


def test_each_recipe_installs_what_the_harness_needs() -> None:
    """And the same packages; they are installed by .ci/install-packages in a checkout."""
    gitlab = yaml.safe_load(PAGE[GITLAB])["apic"]["before_script"][1]
    (packages,) = [entry["package"] for entry in yaml.safe_load(PAGE[PLAN])["prepare"]]
    github = re.sub(r"\\\n", "", steps()["Install packages"]).split("recommends ")[1].split()
    assert github == gitlab.split("recommends ")[1].split() == packages
    script = (ROOT / ".ci/install-packages").read_text().partition('if [ "${1:-}" = test ]')[0]
    needed = set(re.findall(r"^need \S+ (\S+)$", script, re.MULTILINE))
    # gcc brings binutils, and python3-venv python3.
    assert needed - {"binutils", "python3"} <= set(packages)


def steps() -> dict[str, str]:
    """The steps of the workflow that are commands."""
    found: list[dict[str, Any]] = yaml.safe_load(PAGE[GITHUB])["jobs"]["contract"]["steps"]
    return {step["name"]: step["run"] for step in found if "run" in step}


@pytest.mark.emulated
def test_the_steps_of_the_workflow(built: Path) -> None:
    """With this environment in the place of the one that it installs, and a short boot."""
    (built / ".harness").symlink_to(BIN.parent)
    github_steps(built, "sec")


def github_steps(directory: Path, until: str) -> None:
    summary = directory / "summary.md"
    environment = {"GITHUB_STEP_SUMMARY": str(summary), "GITHUB_ACTIONS": "true"}
    assert bash(steps()["Build the firmware"], directory)[0] == 0
    status, output = bash(steps()["Boot it"].replace("--until shell", f"--until {until}"), directory)
    assert status == 1, output
    assert output.startswith(HEADLINE)
    status, output = bash(steps()["Show the report"], directory, **environment)
    assert status == 0, output
    assert output.startswith("::error")
    assert HEADLINE in output.splitlines()[0]
    assert summary.read_text().startswith(f"### ❌ {HEADLINE}")
    assert json.loads((directory / "runs/apic.sarif").read_text())["runs"][0]["results"]
    assert next(iter(JUnitXml.fromfile(str(directory / "runs/junit.xml")))).failures > 0
    assert "<!doctype html>" in (directory / "runs/report.html").read_text().lower()


@pytest.mark.slow
@pytest.mark.emulated
def test_the_workflow_with_the_harness_that_it_installs(built: Path) -> None:
    status, output = bash(steps()["Install the harness"], built, HARNESS=str(ROOT))
    assert status == 0, output
    github_steps(built, "shell")


@pytest.mark.slow
@pytest.mark.emulated
def test_the_job_of_gitlab(built: Path) -> None:
    job = yaml.safe_load(PAGE[GITLAB])["apic"]
    assert job["before_script"][2:] == steps()["Install the harness"].splitlines()
    (built / ".harness").symlink_to(BIN.parent)
    status, output = bash("\n".join(job["script"]), built)
    assert status == 1, output
    assert HEADLINE in output
    for line in job["after_script"]:
        assert bash(line, built)[0] == 1
    reports = job["artifacts"]["reports"]
    assert json.loads((built / reports["codequality"]).read_text())
    assert next(iter(JUnitXml.fromfile(str(built / reports["junit"])))).failures > 0


@pytest.mark.slow
@pytest.mark.emulated
@pytest.mark.parametrize(
    ("build", "status", "result", "total"),
    [("exit 0", 1, "fail", "1 test failed"), ("exit 1", 2, "error", "1 error")],
)
def test_tmt_runs_the_test(
    built: Path, tmp_path_factory: pytest.TempPathFactory, build: str, status: int, result: str, total: str
) -> None:
    """On this machine, without the step that installs packages. A build that fails is not a failure of the firmware."""
    with (built / "build-firmware").open("a") as program:
        program.write(f"{build}\n")
    workdir = tmp_path_factory.mktemp("tmt")
    parts = ["discover", "provision", "--how", "local", "execute", "report"]
    # tmt runs what is in git.
    assert bash("git init -q . && git add .", built)[0] == 0
    argv: list[str | Path] = [BIN / "tmt", "--feeling-safe", "run", "--id", workdir, "-e", f"HARNESS={ROOT}", *parts]
    ended, output = call(argv, built)
    assert (ended, output.splitlines()[-1]) == (status, f"total: {total}"), output
    (results,) = workdir.rglob("execute/results.yaml")
    (found,) = yaml.safe_load(results.read_text())
    assert found["result"] == result
    assert bool(list(workdir.rglob("verdict.json"))) is (result == "fail")
