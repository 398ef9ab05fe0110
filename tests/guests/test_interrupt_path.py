# SPDX-License-Identifier: GPL-2.0-or-later
"""Ticks through the whole path of Alternate Injection: none is lost or doubled."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.interrupt_path import follow, measure_path
from snp_harness.capture.record import HostRecord, RecordKind
from snp_harness.platforms import exit_path, memory_map
from tests.helpers.in_place import new_qemu

PERIOD_US = 1000


def record(kind: int, time_us: int) -> HostRecord:
    values = dict.fromkeys(HostRecord._fields, 0)
    return HostRecord(**(values | {"kind": kind, "time_ns": time_us * 1000, "address": 0x51}))


def test_posts_and_interrupts_are_paired() -> None:
    post, take = int(RecordKind.DOORBELL), int(RecordKind.INTERRUPT)
    events = [(post, 0), (take, 70), (post, 1000), (post, 3000), (take, 3080), (take, 3090), (int(RecordKind.VC), 3100)]
    sample = follow([record(*event) for event in events], 3, PERIOD_US)
    assert (sample.posted, sample.delivered, sample.merged, sample.doubled, sample.off_period) == (3, 3, 1, 1, 1)
    assert sample.latency_us == (70, 80)


@pytest.mark.emulated
@pytest.mark.parametrize("load", [False, True], ids=["idle", "load"])
@pytest.mark.parametrize(
    "ticks", [pytest.param(500, id="500"), pytest.param(10_000, id="10000", marks=pytest.mark.slow)]
)
def test_no_tick_is_lost_or_doubled(ticks: int, load: bool, tmp_path: Path) -> None:
    sample = measure_path(tmp_path / "out", ticks, PERIOD_US, load=load, icount=True)
    assert (sample.taken, sample.posted, sample.delivered) == (ticks, ticks, ticks), sample.counts
    assert (sample.merged, sample.doubled, sample.off_period) == (0, 0, 0)


@pytest.mark.emulated
@pytest.mark.slow
def test_no_tick_is_doubled_by_answers_inside_qemu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each leaves TCG's loop, at which QEMU finds the vector of the tick that VMRUN has injected (hardware/run.c)."""
    monkeypatch.setenv("SNP_HARNESS_QEMU", str(new_qemu()))
    monkeypatch.setenv(exit_path.VARIABLE, exit_path.IN_PLACE)
    sample = measure_path(tmp_path / "out", 500, PERIOD_US, load=False, icount=True)
    assert (sample.taken, sample.posted, sample.delivered) == (500, 500, 500), sample.counts
    assert sample.doubled == 0


@pytest.mark.emulated
def test_no_time_passes_while_a_full_log_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log of five ticks, which the harness reads every 20 ms."""
    monkeypatch.setattr(memory_map, "RING_RECORDS", 256)
    sample = measure_path(tmp_path / "out", 500, PERIOD_US, load=True, icount=True)
    assert (sample.taken, sample.posted, sample.delivered) == (500, 500, 500)
    assert (sample.merged, sample.doubled, sample.off_period) == (0, 0, 0)


@pytest.mark.emulated
@pytest.mark.parametrize("load", [False, True], ids=["idle", "load"])
def test_in_real_time_what_is_posted_is_taken(load: bool, tmp_path: Path) -> None:
    """On a busy machine ticks are late: they merge while they wait, but none is lost or doubled."""
    sample = measure_path(tmp_path / "out", 500, PERIOD_US, load=load, icount=False)
    assert sample.taken == 500
    assert sample.delivered in (500, 501), "one more may come while the guest stops its timer"
    assert sample.doubled == 0
    assert sample.posted - sample.delivered - sample.merged in (0, 1), "the last one may not be taken any more"
