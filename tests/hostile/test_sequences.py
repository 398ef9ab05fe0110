# SPDX-License-Identifier: GPL-2.0-or-later
"""Accesses made at random, hostile and legal ones mixed: the timeline is what the guest wrote down."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import pytest

from snp_harness.apic.access import Operation, Path
from tests.hostile.compare import KEPT, differences
from tests.hostile.run import PLAIN, SETTINGS, HostileRun, Options, Setting

pytestmark = pytest.mark.emulated

Run = Callable[..., HostileRun]

#: Sequences of all vCPUs together: as many as a timeline keeps one by one.
MANY = 2600
FEW = 200
SEEDS = range(1, 5)


def _settings() -> Iterator[object]:
    for base in SETTINGS:
        for vcpus in (1, 2, 4):
            setting = dataclasses.replace(base, name=f"{base.name}-{vcpus}", vcpus=vcpus)
            yield pytest.param(setting, id=setting.name)


def check(hostile: Run, setting: Setting, seed: int, sequences: int) -> HostileRun:
    """Run sequences and compare. sequences: of all vCPUs together."""
    run = hostile("sequences", setting, Options(seed=seed, sequences=sequences // setting.vcpus, timeout_s=300))
    assert "done" in run.console, run.result.timeline.gaps
    assert len(run.result.timeline.accesses) <= KEPT + 1000
    found = differences(run)
    assert not found, f"seed {seed}:\n" + "\n".join(found)
    return run


@pytest.mark.parametrize("setting", list(_settings()))
def test_few(hostile: Run, setting: Setting) -> None:
    check(hostile, setting, 1, FEW)


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("setting", list(_settings()))
def test_many(hostile: Run, setting: Setting, seed: int) -> None:
    check(hostile, setting, seed, MANY)


def test_all_sorts_of_accesses_are_made(hostile: Run) -> None:
    run = hostile("sequences", PLAIN, Options(seed=1, sequences=FEW))
    accesses = run.result.timeline.accesses
    assert {access.path for access in accesses} == {Path.MMIO, Path.MSR}
    assert {access.size for access in accesses} == {1, 2, 4, 8}
    assert len({access.register.name for access in accesses}) > 60
    assert len({access.mode for access in accesses}) == 3
    assert len({access.outcome for access in accesses}) == 3
    ends = [a for a in accesses if a.register.name == "EOI" and a.operation is Operation.WRITE]
    assert len(ends) > 10
