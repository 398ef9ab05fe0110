# SPDX-License-Identifier: GPL-2.0-or-later
"""The tests that boot guests, here and on a host over SSH: the same tests pass, with equal verdicts and timelines."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from snp_harness.apic.access import Phase
from snp_harness.apic.timeline import Timeline
from tests.hosts.agent_runs import untimed
from tests.hosts.sshd import Sshd

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.emulated, pytest.mark.tcg]

ROOT = Path(__file__).parents[2]
#: The tests that boot, without those that only check whether a platform can run, or start their own harness.
SUITE = ("tests/platforms", "tests/guests")
SELECTED = "(emulated or tcg) and not slow and not nested and not kvm"
TIMEOUT_S = 3600.0
#: Rules whose verdict depends on how far a run came: a signal or a timeout may end it anywhere.
_BY_CHANCE = ("killed", "hangs", "interrupt", "timeout")


def suite(base: Path, *more: str) -> tuple[dict[str, int], float]:
    """Run the suite; return the number of tests by outcome, and the seconds."""
    report = base.with_suffix(".xml")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:hypothesispytest", "-p", "no:cacheprovider"]
    command += ["-m", SELECTED, f"--basetemp={base}", f"--junitxml={report}", *more, *SUITE]
    started = time.monotonic()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    elapsed = time.monotonic() - started
    assert done.returncode == 0, done.stdout[-5000:]
    (found,) = ElementTree.parse(report).getroot().iter("testsuite")
    return {key: int(found.attrib[key]) for key in ("tests", "failures", "errors", "skipped")}, elapsed


def directories(base: Path) -> set[Path]:
    """The run directories that a suite left."""
    found = {path.parent.relative_to(base) for path in base.rglob("verdict.json")}
    # pytest has a link to the last one of each test.
    return {path for path in found if not any(part.endswith("current") for part in path.parts)}


def outcome(directory: Path) -> tuple[Any, list[dict[str, object]]]:
    """A run's verdict, rule by rule, and the accesses of its SEC."""
    verdict = json.loads((directory / "verdict.json").read_text())
    timeline = Timeline.from_jsonl((directory / "timeline.jsonl").read_text())
    sec = untimed(timeline) if timeline.reached > Phase.SEC else []
    return {rule["rule"]: rule["status"] for rule in verdict["rules"]}, sec


def test_the_suite_over_ssh(sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inventory = tmp_path / "hosts.toml"
    inventory.write_text(
        f'[hosts.box]\nurl = "{sshd.url}"\nknown_hosts = "{sshd.known_hosts}"\n'
        f'identity = "{sshd.home / ".ssh" / "id_ed25519"}"\n'
    )
    # The inner runs have the user's own home, where firmware is found.
    monkeypatch.undo()
    here, here_s = suite(tmp_path / "here")
    there, there_s = suite(tmp_path / "there", "--snp-host=box", f"--snp-inventory={inventory}")
    assert there == here
    assert sshd.logins() == 1
    runs = directories(tmp_path / "here")
    assert directories(tmp_path / "there") == runs
    assert len(runs) > 50
    different = []
    for run in sorted(runs):
        near, far = (outcome(tmp_path / place / run) for place in ("here", "there"))
        by_chance = any(word in str(run) for word in _BY_CHANCE)
        if near[1] != far[1] or (near[0] != far[0] and not by_chance):
            different.append(str(run))
    assert different == []
    # Shown with -s: the times depend on the load of the machine (python -m bench.remote compares in turns).
    print(f"{len(runs)} runs, {here_s:.1f} s here, {there_s:.1f} s over SSH: {there_s / here_s:.2f}x")
