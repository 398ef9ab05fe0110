# SPDX-License-Identifier: GPL-2.0-or-later
"""The reference SVSM and the emulated host conform; each fault is noticed; ticks and fuzz."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from snp_harness.conformance.guest_run import ConformanceResult
from snp_harness.conformance.image import Fuzz, Ticks, Touch
from snp_harness.conformance.tap import PointStatus
from snp_harness.errors import EXIT_HOLDS, EXIT_VIOLATED
from tests.guests.points import all_points, points_of

pytestmark = pytest.mark.emulated

Run = Callable[..., ConformanceResult]

CONFIGURATIONS = (
    "alternate-injection",
    "timer-hv-timer",
    "timer-svsm",
    "feature-bit-7",
    "no-apic-protocol",
    "no-svsm",
    "plain",
)
SEED = 20261124


def _items() -> Iterator[object]:
    for configuration in CONFIGURATIONS:
        for name in points_of(configuration):
            yield pytest.param(configuration, name, id=f"{configuration}-{name}")


@pytest.mark.parametrize(("configuration", "name"), list(_items()))
def test_point(conformance: Run, configuration: str, name: str) -> None:
    # Instructions are counted, as in test_ticks: the guest's time does not depend on this machine's.
    result = conformance(configuration, icount=True)
    point = next((point for point in result.tap.points if point.name == name), None)
    if point is None:
        pytest.fail(f"not told; {'; '.join(result.tap.defects)}; {result.ended}", pytrace=False)
    if point.status is not PointStatus.PASSED:
        pytest.fail(f"{point.status.value} {point.reason} {dict(point.diagnostic)}", pytrace=False)


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_run_is_complete(conformance: Run, configuration: str) -> None:
    result = conformance(configuration, icount=True)
    assert [point.name for point in result.tap.points] == all_points()
    assert {point.name for point in result.of(PointStatus.SKIPPED)} == set(all_points()) - set(points_of(configuration))
    assert all(point.reason for point in result.of(PointStatus.SKIPPED))
    assert result.exit_status == EXIT_HOLDS, result.tap.defects
    assert result.verdict.endswith("(emulated SNP host, not hardware)")
    assert (result.run.directory / "tap.log").read_text(encoding="utf-8").startswith("TAP version 14\n")


def test_one_vcpu(conformance: Run) -> None:
    result = conformance("alternate-injection", vcpus=1, icount=True)
    reasons = {point.name: point.reason for point in result.of(PointStatus.SKIPPED)}
    assert {name for name, reason in reasons.items() if reason == "one vCPU"} == {
        name for name in all_points() if name.startswith(("other-vcpu/", "registration/other-vcpu-"))
    }
    assert result.exit_status == EXIT_HOLDS, result.tap.defects


def test_every_page_with_an_exit_of_its_own(conformance: Run, tmp_path: Path) -> None:
    """Pages that are mapped in groups hide most of the exits that cut an event's delivery short."""
    config = tmp_path / "single.toml"
    config.write_text("[exits]\nshortcuts = false\n", encoding="utf-8")
    result = conformance(str(config), icount=True)
    assert result.exit_status == EXIT_HOLDS, result.of(PointStatus.FAILED)


@pytest.mark.parametrize("configuration", ["policy-x2apic-at-reset", "policy-x2apic-on-altinj"])
def test_refused_proposals_are_noticed(conformance: Run, configuration: str) -> None:
    result = conformance(configuration, icount=True)
    assert {point.name for point in result.of(PointStatus.FAILED)} == {"apic-base/reset-value"}
    assert result.tap.complete
    assert result.exit_status == EXIT_VIOLATED


@pytest.mark.parametrize("load", [False, True], ids=["idle", "load"])
def test_ticks(conformance: Run, load: bool) -> None:
    # Instructions are counted: the guest's time does not pass while this machine is busy, so no tick may be missed.
    mode = Ticks(ticks=50, period_us=10_000, load=load, missed_allowed=0)
    for configuration in ("alternate-injection", "timer-svsm"):
        result = conformance(configuration, mode, icount=True)
        assert result.exit_status == EXIT_HOLDS, result.tap.notes
        assert len(result.of(PointStatus.PASSED)) == 3


def test_fuzz_and_the_svsms_memory(conformance: Run) -> None:
    # Instructions are counted: every machine makes the same requests. The guest takes a seed's odd neighbour.
    for seed, touch in ((SEED, Touch.READ), (SEED + 2, Touch.WRITE)):
        result = conformance("alternate-injection", Fuzz(seed, 500, touch), icount=True)
        assert result.exit_status == EXIT_HOLDS, result.tap.defects
        assert "the guest's VMPL may not access GPA" in result.ended


@pytest.mark.slow
def test_fuzz_for_a_minute(conformance: Run) -> None:
    result = conformance("alternate-injection", Fuzz(SEED, 12_000), icount=True)
    assert result.exit_status == EXIT_HOLDS, (result.tap.defects, result.ended)
