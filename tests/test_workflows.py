# SPDX-License-Identifier: GPL-2.0-or-later
"""The workflows of .github/: safe, valid, pinned, with caches that are written again."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.documents import ROOT

yaml = pytest.importorskip("yaml")
BIN = Path(sys.executable).parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
every_workflow = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)


def jobs(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text())["jobs"]
    return found


def steps(path: Path) -> Iterator[dict[str, Any]]:
    for job in jobs(path).values():
        yield from job["steps"]


def checked(*argv: str | Path) -> None:
    program, *rest = argv
    done = subprocess.run([BIN / program, *rest], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_zizmor_finds_nothing() -> None:
    checked("zizmor", "--offline", "--quiet", "--strict-collection", *WORKFLOWS, "action.yml")


def test_zizmor_would_find_something(tmp_path: Path) -> None:
    """In a workflow that is not pinned, and lets everybody's title run."""
    loose = tmp_path / ".github" / "workflows" / "loose.yml"
    loose.parent.mkdir(parents=True)
    loose.write_text(
        "on: issues\njobs:\n  a:\n    runs-on: ubuntu-24.04\n    steps:\n      - uses: actions/checkout@v4\n"
        "      - run: echo ${{ github.event.issue.title }}\n"
    )
    with pytest.raises(AssertionError, match="template-injection"):
        checked("zizmor", "--offline", "--quiet", loose)


def test_they_are_what_github_reads() -> None:
    checked("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *WORKFLOWS)
    checked("check-jsonschema", "--builtin-schema", "vendor.github-actions", "action.yml")


@every_workflow
def test_actions_are_pinned(path: Path) -> None:
    """By the hash of a commit, and one release has one hash."""
    used = re.findall(r"^ +(?:- )?uses: (.*)$", path.read_text(), re.MULTILINE)
    assert used
    for line in used:
        assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line), line


def test_a_release_has_one_hash() -> None:
    found: dict[str, set[str]] = {}
    for path in WORKFLOWS:
        for action, commit, version in re.findall(r"uses: ([\w-]+/[\w-]+)\S*@(\S+) # (\S+)", path.read_text()):
            found.setdefault(action, set()).add(f"{commit} {version}")
    assert all(len(versions) == 1 for versions in found.values()), found


@every_workflow
def test_a_job_ends_and_has_few_rights(path: Path) -> None:
    workflow = yaml.safe_load(path.read_text())
    assert workflow["permissions"] == {}
    assert "group" in workflow["concurrency"]
    for job in jobs(path).values():
        assert job["timeout-minutes"] <= 120
        assert job["permissions"] == {"contents": "read"}


@every_workflow
def test_a_cache_is_saved_again(path: Path) -> None:
    """A key that is there already is never written: each has a part that changes by itself, and restores by prefix."""
    for step in steps(path):
        if step.get("uses", "").startswith(("actions/cache@", "actions/cache/restore@")):
            key, prefix = step["with"]["key"], step["with"]["restore-keys"].strip()
            assert key.startswith(prefix)
            assert re.search(r"\$\{\{ (?:github\.run_id|steps\.week\.outputs\.week) \}\}", key), key


@every_workflow
def test_what_they_make_is_in_the_makefile(path: Path) -> None:
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony is not None
    made = [
        target for step in steps(path) for target in re.findall(r"^make ([\w-]+)", step.get("run", ""), re.MULTILINE)
    ]
    assert made
    assert set(made) <= set(phony[1].split())


def show_verdict(directory: Path, command: Path) -> tuple[int, str]:
    """Run the step of ci.yml that puts the verdict on stock firmware into the summary: its status, and the summary."""
    (script,) = [
        step["run"] for step in steps(ROOT / ".github/workflows/ci.yml") if "GITHUB_STEP_SUMMARY" in step.get("run", "")
    ]
    (directory / ".venv" / "bin").mkdir(parents=True)
    (directory / "build").mkdir()
    (directory / ".venv" / "bin" / "snp-harness").symlink_to(command)
    summary = directory / "summary.md"
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
        cwd=directory,
        env={**os.environ, "GITHUB_STEP_SUMMARY": str(summary)},
        timeout=300,
        check=False,
    )
    return done.returncode, summary.read_text()


@pytest.mark.emulated
@pytest.mark.usefixtures("snp_firmware")
def test_the_summary_shows_that_stock_firmware_is_violated(tmp_path: Path) -> None:
    status, summary = show_verdict(tmp_path, BIN / "snp-harness")
    assert status == 0
    assert summary.startswith("### ❌ violated: 7 local-APIC accesses in SEC before x2APIC mode")


@pytest.mark.parametrize("status", [0, 3])
def test_another_verdict_on_stock_firmware_is_a_failure(tmp_path: Path, status: int) -> None:
    command = tmp_path / "command"
    command.write_text(f"#!/bin/sh\necho other > build/stock.md\nexit {status}\n")
    command.chmod(0o755)
    assert show_verdict(tmp_path, command) == (1, "other\n")


def test_a_night_is_compared_with_the_one_before(tmp_path: Path) -> None:
    """Its matrix is restored and saved, and none before it."""
    nightly = list(steps(ROOT / ".github/workflows/nightly.yml"))
    cached = [step["with"]["path"].split() for step in nightly if step.get("uses", "").startswith("actions/cache/")]
    assert len(cached) == 2
    assert cached[0] == cached[1]
    assert "build/nightly" in cached[0]
    (script,) = [step["run"] for step in nightly if "readlink" in step.get("run", "")]
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
    assert subprocess.run(command, cwd=tmp_path, timeout=60, check=False).returncode == 0
    out = tmp_path / "build" / "nightly"
    for name in ("20261128-matrix", "20261129-matrix"):
        (out / name / "cell").mkdir(parents=True)
    (out / "latest").symlink_to("20261129-matrix")
    assert subprocess.run(command, cwd=tmp_path, timeout=60, check=False).returncode == 0
    assert {path.name for path in out.iterdir()} == {"latest", "20261129-matrix"}
    assert (out / "latest" / "cell").is_dir()
