# SPDX-License-Identifier: GPL-2.0-or-later
"""action.yml: its steps are run as GitHub runs them, with a stand-in for the command and with the reference SVSM."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from snp_harness.conformance.image import open_guest
from snp_harness.firmware.image import FirmwareImage
from tests.documents import DOCS, files, page_text
from tests.firmware.conftest import trixie_path
from tests.helpers.reference_svsm import write_reference

__all__ = ["trixie_path"]

ROOT = Path(__file__).parents[1]
STEP_S = 900.0
#: What GitHub runs for `shell: bash`.
BASH = ("bash", "--noprofile", "--norc", "-eo", "pipefail")
yaml = pytest.importorskip("yaml")
ACTION: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text())


@dataclass
class Job:
    """A job's directory, and what its steps leave. inputs: of the action. path: programs before the machine's."""

    directory: Path
    inputs: dict[str, str]
    path: Path | None = None
    passed: bool = True
    output: str = ""
    ran: list[str] = field(default_factory=list)

    def run(self, names: list[str] | None = None) -> None:
        """Run the steps, or those of these names, with the action's defaults for the inputs that were not given."""
        given = {name: str(about.get("default", "")) for name, about in ACTION["inputs"].items()} | self.inputs
        summary = self.directory / "github_step_summary"
        summary.touch()
        temporary = self.directory / "temp"
        temporary.mkdir(exist_ok=True)
        for step in ACTION["runs"]["steps"]:
            if (names is not None and step["name"] not in names) or not self._applies(step.get("if"), given):
                continue
            before = [str(self.path)] if self.path else []
            environment = {
                **{name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "SNP_HARNESS"))},
                "GITHUB_STEP_SUMMARY": str(summary),
                "GITHUB_ACTION_PATH": str(ROOT),
                "RUNNER_TEMP": str(temporary),
                **{name: self._filled(value, given) for name, value in step.get("env", {}).items()},
            }
            environment["PATH"] = os.pathsep.join([*before, environment["PATH"]])
            script = temporary / "step.sh"
            script.write_text(step["run"])
            done = subprocess.run(
                [*BASH, str(script)],
                cwd=self.directory,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=STEP_S,
                check=False,
            )
            self.output += done.stdout
            self.passed &= done.returncode == 0
            self.ran.append(step["name"])

    @property
    def errors(self) -> list[str]:
        return [line for line in self.output.splitlines() if line.startswith("::error ")]

    @property
    def summary(self) -> list[str]:
        return (self.directory / "github_step_summary").read_text().splitlines()

    def _applies(self, condition: str | None, given: dict[str, str]) -> bool:
        """A condition without a function that asks for the job's state is `success() && condition`."""
        if condition == "${{ !cancelled() }}":
            return True
        if condition is None:
            return self.passed
        match = re.fullmatch(r"inputs\.([\w-]+) != ''", condition)
        assert match is not None, condition
        return self.passed and given[match[1]] != ""

    def _filled(self, value: str, given: dict[str, str]) -> str:
        match = re.fullmatch(r"\$\{\{ inputs\.([\w-]+) \}\}", value)
        assert match is not None, value
        return given[match[1]]


def stand_in(directory: Path, script: str) -> Path:
    """A directory with a program of the command's name."""
    directory.mkdir()
    program = directory / "snp-harness"
    program.write_text(f"#!/bin/bash\n{script}")
    program.chmod(0o755)
    return directory


CHECKS = ["Test the SVSM", "Test its APIC protocol", "Boot the firmware below it"]
#: Prints its arguments; fails as the real one does for conformance with 4 vCPUs.
FAILS = r"""
echo "$1 says: 100% of $*"
while [ "$1" != --out ]; do what="$what $1"; shift; done
mkdir -p "$2"
case $what in *conformance*4*) ;; *) exit 0 ;; esac
printf 'TAP version 14\n1..3\nok 1 - a\nnot ok 2 - classes/ppr\nnot ok 3 - known # TODO COCONUT\n' > "$2/results.tap"
exit 1
"""


def test_each_check_is_run_with_each_number_of_vcpus(tmp_path: Path) -> None:
    path = stand_in(tmp_path / "bin", FAILS.replace("exit 1", "exit 0"))
    job = Job(
        tmp_path,
        {"igvm": "a b.igvm", "test-igvm": "t.igvm", "known": "k", "firmware": "f", "conformance-igvm": ""},
        path,
    )
    job.run(CHECKS)
    assert job.passed
    assert job.ran == CHECKS
    assert not job.errors
    assert job.summary[:2] == ["| result | check | first line | time |", "|---|---|---|---|"]
    said = [line.split(" | ")[2] for line in job.summary[2:]]
    assert [line.split(" --quiet")[0].split("% of ")[1] for line in said] == [
        f"{command} --vcpus {number}"
        for command in (
            "svsm-test t.igvm",
            "conformance --igvm a b.igvm --svsm-config alternate-injection --known k",
            "run --igvm a b.igvm --firmware f --svsm-config alternate-injection-off --until shell --memory 128",
        )
        for number in (1, 4)
    ]
    assert len(list((tmp_path / "svsm-runs").iterdir())) == 12


def test_without_optional_inputs(tmp_path: Path) -> None:
    job = Job(tmp_path, {"igvm": "a.igvm", "vcpus": "2"}, stand_in(tmp_path / "bin", FAILS))
    job.run(CHECKS)
    assert job.passed
    assert job.ran == CHECKS[1:]
    assert "of conformance --igvm a.igvm --svsm-config alternate-injection --vcpus 2 --quiet" in job.output
    assert (
        "of run --igvm a.igvm --svsm-config alternate-injection-off --until shell --memory 128 --vcpus 2" in job.output
    )


def test_what_failed_is_annotated_and_the_rest_is_run(tmp_path: Path) -> None:
    job = Job(tmp_path, {"igvm": "a.igvm"}, stand_in(tmp_path / "bin", FAILS))
    job.run(CHECKS)
    assert not job.passed
    assert job.ran == CHECKS[1:]
    title = "::error title=APIC conformance%2C vCPUs%3A 4::"
    assert [error.split(" --quiet")[0].split(" of ")[0] for error in job.errors] == [
        f"{title}conformance says: 100%25",
        f"{title}classes/ppr",
    ]
    assert job.errors[0].endswith("(exit status 1)")
    assert [line.split(" | ")[0] for line in job.summary[2:]] == [
        "| passed",
        "| **failed** (1)",
        "| passed",
        "| passed",
    ]


def test_a_command_that_cannot_start_is_annotated(tmp_path: Path) -> None:
    """With the real command and no file."""
    job = Job(tmp_path, {"igvm": "none.igvm", "vcpus": "1"}, Path(sys.executable).parent)
    job.run(CHECKS[2:])
    assert not job.passed
    (error,) = job.errors
    assert error.startswith("::error title=UEFI shell%2C vCPUs%3A 1::snp-harness: error: ")
    assert "none.igvm" in error
    assert error.endswith("(exit status 2)")


@pytest.mark.slow
@pytest.mark.emulated
def test_every_step_with_the_reference_svsm(trixie_path: Path, tmp_path: Path) -> None:
    """The action as a job uses it: it installs the harness and runs the checks."""
    ovmf, guest = FirmwareImage.open(trixie_path), open_guest()
    images = {
        "igvm": write_reference(tmp_path / "boot.igvm", ovmf, "alternate-injection-off"),
        "test-igvm": write_reference(tmp_path / "test.igvm", ovmf, "alternate-injection", self_test=True),
        "conformance-igvm": write_reference(tmp_path / "conformance.igvm", guest, "alternate-injection"),
    }
    job = Job(tmp_path, images)
    job.run()
    assert job.passed, job.output
    assert not job.errors
    assert job.ran == ["Install", *CHECKS]
    assert (tmp_path / "temp" / "snp-harness" / "bin" / "snp-harness").exists()
    rows = [re.fullmatch(r"\| passed \| (.*) \| (.*) \| \d+ s \|", line) for line in job.summary[2:]]
    assert [row and row[1].partition(",")[0] for row in rows] == [
        name for name in ("SVSM tests", "APIC conformance", "UEFI shell") for _ in range(2)
    ]


def test_the_page_lists_the_inputs() -> None:
    page = page_text(DOCS / "ci-svsm.md")
    rows = dict(re.findall(r"^\| `([\w-]+)` \| (.*) \|$", page, re.MULTILINE))
    assert set(rows) == set(ACTION["inputs"])
    workflow = yaml.safe_load(files(page)[".github/workflows/svsm.yml"])
    (given,) = [step["with"] for step in workflow["jobs"]["svsm"]["steps"] if "snp-harness@" in step.get("uses", "")]
    assert set(given) <= set(ACTION["inputs"])
