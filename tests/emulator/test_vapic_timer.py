# SPDX-License-Identifier: GPL-2.0-or-later
"""The virtual APIC's timer: all times in ns, the bus clock is 1 GHz."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.emulator.vapic import Vapic

ONE_SHOT, PERIODIC, TSC_DEADLINE, MASKED = 0, 0x20000, 0x40000, 0x10000
LVT, INITIAL, CURRENT, DIVIDE = 0x320, 0x380, 0x390, 0x3E0
VECTOR = 0x40
# APM 16.4.1: bits 3, 1 and 0 of the divide configuration.
DIVIDERS = {0x0: 2, 0x1: 4, 0x2: 8, 0x3: 16, 0x8: 32, 0x9: 64, 0xA: 128, 0xB: 1}
MIN_PERIOD = 200_000


@pytest.fixture
def apic(vapic: Vapic) -> Vapic:
    """A virtual APIC that software has enabled, timer dividing by 1."""
    vapic.write(0xF0, 0x1FF)
    vapic.write(DIVIDE, 0xB)
    return vapic


def take(apic: Vapic, vector: int = VECTOR) -> None:
    """The processor takes the interrupt and ends it."""
    assert apic.pending == vector
    apic.accept(vector)
    apic.write(0xB0, 0)


@pytest.mark.parametrize(("code", "divider"), DIVIDERS.items())
def test_dividers(apic: Vapic, code: int, divider: int) -> None:
    apic.write(DIVIDE, code)
    apic.write(LVT, ONE_SHOT | VECTOR)
    assert apic.write(INITIAL, 1000, now=500).timer_changed
    assert apic.deadline() == 500 + 1000 * divider
    assert apic.read(CURRENT, now=500) == 1000
    assert apic.read(CURRENT, now=500 + 400 * divider) == 600
    assert apic.read(CURRENT, now=500 + 1000 * divider) == 0


def test_one_shot(apic: Vapic) -> None:
    apic.write(LVT, ONE_SHOT | VECTOR)
    apic.write(INITIAL, 1000, now=0)
    assert not apic.timer_run(999)
    assert apic.pending == -1
    assert apic.timer_run(1000)
    take(apic)
    assert apic.deadline() is None
    assert not apic.timer_run(10**9)
    assert (apic.read(INITIAL), apic.read(CURRENT, now=10**9)) == (1000, 0)


def test_reserved_mode_starts_nothing(apic: Vapic) -> None:
    """KVM's __start_apic_timer knows one-shot and periodic: both mode bits set keep the count, and it does not run."""
    apic.write(LVT, PERIODIC | TSC_DEADLINE | VECTOR)
    apic.write(INITIAL, 1000, now=0)
    assert (apic.read(INITIAL), apic.read(CURRENT, now=1), apic.deadline()) == (1000, 0, None)
    # A running count continues until another is written.
    apic.write(LVT, ONE_SHOT | VECTOR)
    apic.write(INITIAL, 1000, now=0)
    apic.write(LVT, PERIODIC | TSC_DEADLINE | VECTOR)
    assert (apic.read(CURRENT, now=400), apic.deadline()) == (600, 1000)
    apic.write(INITIAL, 500, now=500)
    assert (apic.read(CURRENT, now=501), apic.deadline()) == (0, None)


def test_periodic_without_a_storm(apic: Vapic) -> None:
    period = 1_000_000
    apic.write(LVT, PERIODIC | VECTOR)
    apic.write(INITIAL, period, now=0)
    assert apic.timer_run(period)
    assert apic.deadline() == 2 * period
    take(apic)
    assert apic.timer_run(5 * period + 10)  # four missed are one
    assert apic.deadline() == 6 * period
    take(apic)
    assert not apic.timer_run(5 * period + 20)


def test_periodic_count_wraps(apic: Vapic) -> None:
    apic.write(LVT, PERIODIC | VECTOR)
    apic.write(INITIAL, 1_000_000, now=0)
    assert apic.read(CURRENT, now=1) == 999_999
    assert apic.read(CURRENT, now=1_000_000) == 1_000_000
    assert apic.read(CURRENT, now=3_400_000) == 600_000


def test_short_periods_are_slowed_down(apic: Vapic) -> None:
    apic.write(LVT, PERIODIC | VECTOR)
    apic.write(INITIAL, 10, now=0)
    assert apic.deadline() == MIN_PERIOD
    apic.write(LVT, ONE_SHOT | VECTOR)
    apic.write(INITIAL, 10, now=0)
    assert apic.deadline() == 10


def test_initial_count_zero_stops(apic: Vapic) -> None:
    apic.write(LVT, PERIODIC | VECTOR)
    apic.write(INITIAL, 1_000_000, now=0)
    assert apic.write(INITIAL, 0, now=10).timer_changed
    assert apic.deadline() is None
    assert apic.read(CURRENT, now=20) == 0


def test_masked_timer_runs_but_does_not_interrupt(apic: Vapic) -> None:
    apic.write(LVT, PERIODIC | MASKED | VECTOR)
    apic.write(INITIAL, 1_000_000, now=0)
    assert not apic.timer_run(1_000_000)
    assert apic.deadline() == 2_000_000
    assert apic.pending == -1
    apic.write(LVT, PERIODIC | VECTOR, now=1_500_000)
    assert apic.pending == -1
    assert apic.timer_run(2_000_000)


def test_modes_change_while_it_counts(apic: Vapic) -> None:
    """kvm-unit-tests x86/apic.c, test_apic_change_mode: the count continues, an expired one-shot stays at 0."""
    apic.write(LVT, ONE_SHOT | VECTOR)
    apic.write(INITIAL, 1_000_000, now=0)
    apic.write(LVT, PERIODIC | VECTOR, now=700_000)
    assert apic.read(CURRENT, now=700_000) == 300_000
    assert apic.timer_run(1_000_000)
    assert apic.deadline() == 2_000_000
    apic.write(LVT, ONE_SHOT | VECTOR, now=1_600_000)
    assert apic.read(CURRENT, now=1_600_000) == 400_000
    assert apic.timer_run(2_000_000)
    assert apic.deadline() is None
    apic.write(LVT, PERIODIC | VECTOR, now=2_100_000)
    assert apic.read(CURRENT, now=2_200_000) == 0
    assert apic.deadline() is None


def test_a_write_comes_after_what_was_due(apic: Vapic) -> None:
    apic.write(LVT, ONE_SHOT | VECTOR)
    apic.write(INITIAL, 1000, now=0)
    apic.write(LVT, ONE_SHOT | MASKED | 0x41, now=2000)
    assert apic.pending == VECTOR


def test_divider_changes_while_it_counts(apic: Vapic) -> None:
    apic.write(LVT, ONE_SHOT | VECTOR)
    apic.write(INITIAL, 1000, now=0)
    assert apic.write(DIVIDE, 0x1, now=400).timer_changed  # by 4
    assert apic.deadline() == 400 + 600 * 4
    assert apic.read(CURRENT, now=400) == 600
    assert apic.timer_run(2800)
    assert not apic.write(DIVIDE, 0xB, now=3000).timer_changed
    assert apic.deadline() is None


def test_tsc_deadline(apic: Vapic) -> None:
    assert apic.tsc_deadline == 0
    apic.set_tsc_deadline(12345, 1000)  # not in that mode: ignored
    assert (apic.tsc_deadline, apic.deadline()) == (0, None)
    apic.write(LVT, TSC_DEADLINE | VECTOR)
    apic.set_tsc_deadline(12345, 1000)
    assert (apic.tsc_deadline, apic.deadline()) == (12345, 1000)
    assert not apic.timer_run(999)
    assert apic.timer_run(1000)
    take(apic)
    assert (apic.tsc_deadline, apic.deadline()) == (0, None)


def test_tsc_deadline_zero_disarms(apic: Vapic) -> None:
    apic.write(LVT, TSC_DEADLINE | VECTOR)
    apic.set_tsc_deadline(12345, 1000)
    apic.set_tsc_deadline(0, 0)
    assert (apic.tsc_deadline, apic.deadline()) == (0, None)


def test_tsc_deadline_mode_has_no_count(apic: Vapic) -> None:
    apic.write(LVT, TSC_DEADLINE | VECTOR)
    assert not apic.write(INITIAL, 1000, now=0).timer_changed
    apic.set_tsc_deadline(12345, 1000)
    assert (apic.read(INITIAL), apic.read(CURRENT, now=10), apic.deadline()) == (0, 0, 1000)


@pytest.mark.parametrize(
    ("before", "after"), [(ONE_SHOT, TSC_DEADLINE), (PERIODIC, TSC_DEADLINE), (TSC_DEADLINE, ONE_SHOT)]
)
def test_tsc_deadline_mode_switch_disarms(apic: Vapic, before: int, after: int) -> None:
    apic.write(LVT, before | VECTOR)
    apic.write(INITIAL, 1_000_000, now=0)
    apic.set_tsc_deadline(12345, 1_000_000)
    assert apic.deadline() == 1_000_000
    assert apic.write(LVT, after | VECTOR, now=10).timer_changed
    assert (apic.deadline(), apic.tsc_deadline, apic.read(INITIAL)) == (None, 0, 0)


def test_tsc_deadline_while_disabled(apic: Vapic) -> None:
    apic.write(LVT, TSC_DEADLINE | VECTOR)
    apic.set_tsc_deadline(12345, 1000)
    apic.write_base(0xFEE00100)
    assert apic.tsc_deadline == 0
    assert not apic.timer_run(1000)


def test_software_disable_masks_the_timer(apic: Vapic) -> None:
    apic.write(LVT, PERIODIC | VECTOR)
    apic.write(INITIAL, 1_000_000, now=0)
    apic.write(0xF0, 0xFF, now=10)
    assert not apic.timer_run(1_000_000)


def test_illegal_timer_vector(apic: Vapic) -> None:
    apic.write(LVT, ONE_SHOT | 5)
    apic.write(INITIAL, 1000, now=0)
    assert not apic.timer_run(1000)
    apic.write(0x280, 0)
    assert apic.read(0x280) == 0x40


@settings(max_examples=60, deadline=None)
@given(
    st.booleans(),
    st.sampled_from(sorted(DIVIDERS)),
    st.integers(MIN_PERIOD, 0xFFFFFFFF),
    st.integers(0, 1 << 62),
    st.lists(st.integers(0, 1 << 42), min_size=1, max_size=20),
)
def test_expiries(vapic_process: Vapic, periodic: bool, code: int, count: int, start: int, waits: list[int]) -> None:
    """Against arithmetic: expiries are at start + k periods, each noticed once, the count is what is left."""
    apic, divider = vapic_process, DIVIDERS[code]
    period = count * divider
    apic.reset()
    apic.write(0xF0, 0x1FF)
    apic.write(DIVIDE, code)
    apic.write(LVT, (PERIODIC if periodic else ONE_SHOT) | VECTOR)
    apic.write(INITIAL, count, now=start)
    now, seen = start, 0
    for wait in waits:
        now += wait
        elapsed = (now - start) // period
        due = elapsed if periodic else min(elapsed, 1)
        assert apic.timer_run(now) == (due > seen)
        seen = due
        running = periodic or not due
        assert apic.deadline() == (start + (elapsed + 1) * period if running else None)
        left = period - (now - start) % period if running else 0
        assert apic.read(CURRENT, now=now) == left // divider


def test_the_timer_event_needs_no_mode_and_no_enabled_apic(vapic: Vapic) -> None:
    assert vapic.timer_event(0x40, 0xB, 1000, 0) == 0
    assert vapic.deadline() == 1000
    assert vapic.timer_event(0x40, 0xB, 2000, 400) == 600, "the current count before"
    assert not vapic.timer_run(2399)
    assert vapic.timer_run(2400)
    assert vapic.request_below() == 0x40


def test_the_timer_event_stops_and_masks(vapic: Vapic) -> None:
    vapic.timer_event(0x20040, 0xB, 1_000_000, 0)
    assert vapic.timer_run(1_000_000)
    assert vapic.deadline() == 2_000_000
    vapic.timer_event(0x30040, 0xB, 1_000_000, 0)
    assert not vapic.timer_run(1_000_000)
    vapic.timer_event(0x40, 0xB, 0, 0)
    assert vapic.deadline() is None
