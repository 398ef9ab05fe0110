# SPDX-License-Identifier: GPL-2.0-or-later
"""Waiting in steps: time runs out while a machine runs, not while it is stopped."""

from __future__ import annotations

import subprocess
import sys

import pytest

from snp_harness.launch import patience
from snp_harness.launch.patience import STEP_S, Patience, Silence, run
from tests.launch.clock import Clock
from tests.vm.processes import children


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(patience, "time", made)
    return made


def test_time_runs_out_in_steps(clock: Clock) -> None:
    waiting = Patience(2.5)
    steps = []
    while (step_s := waiting.step()) > 0:
        steps.append(step_s)
        clock.now += step_s
    assert steps == [1.0, 1.0, 0.5]
    assert waiting.step() == 0
    assert Patience(0).step() == 0


def test_a_machine_that_stood_still_loses_two_steps(clock: Clock) -> None:
    waiting = Patience(10)
    clock.now += 3600
    assert waiting.step() == STEP_S
    for _ in range(8):
        clock.now += STEP_S
        left_s = waiting.step()
    assert left_s == 0


def test_how_long_nothing_came(clock: Clock) -> None:
    silence = Silence()
    received_at = clock.now
    told = []
    for passed in (5, 5, 3600, 5):
        clock.now += passed
        told.append(silence.seconds(received_at, 5))
    assert told == [5, 10, 20, 25]
    # After new data the silence is counted from zero.
    clock.now += 4
    received_at = clock.now
    clock.now += 1
    assert silence.seconds(received_at, 5) == 1
    clock.now += 5
    assert silence.seconds(received_at, 5) == 6


def test_a_program_and_what_it_writes() -> None:
    code = "import sys; print('x' * 100000); print('y', file=sys.stderr); sys.exit(3)"
    done = run([sys.executable, "-c", code], 120)
    assert (done.returncode, done.stdout, done.stderr) == (3, b"x" * 100000 + b"\n", b"y\n")


def test_a_program_that_does_not_end_is_killed() -> None:
    before = set(children())
    with pytest.raises(subprocess.TimeoutExpired):
        run([sys.executable, "-c", "import time; time.sleep(600)"], 0.2)
    assert set(children()) <= before
