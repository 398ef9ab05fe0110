# SPDX-License-Identifier: GPL-2.0-or-later
"""Wrong fixes, each a small edit on top of the series, are caught by the rule that exists for them."""

from __future__ import annotations

from pathlib import Path

import pytest

from snp_harness.apic.access import Operation, Phase
from snp_harness.apic.access import Path as AccessPath
from snp_harness.apic.timeline import Timeline
from snp_harness.apic.verdict import Status, Verdict
from snp_harness.firmware_run import RunSpec, run
from tests.ovmf_patches.conftest import Build
from tests.platforms.boots import boot

pytestmark = [pytest.mark.edk2, pytest.mark.slow, pytest.mark.emulated]

#: Mutant, the rule that must catch it, how far it has to run, rules that must hold all the same.
#: One that uses the xAPIC page ends itself there, so that the rest of the run is not seen.
CAUGHT = [
    ("too-late", "x2apic-before-sec", "pei", set()),
    ("stray-access", "no-xapic-after-x2apic", "dxe", {"x2apic-before-sec"}),
    ("illegal-transition", "legal-transition", "pei", set()),
    ("left-again", "no-xapic-after-x2apic", "pei", {"x2apic-before-sec"}),
    ("eoi-to-hypervisor", "svsm-handles-its-registers", "shell", {"x2apic-before-sec", "no-xapic-after-x2apic"}),
    ("no-query", "apic-protocol-used-only-when-offered", "pei", {"x2apic-before-sec", "svsm-handles-its-registers"}),
    ("vector-not-allowed", "no-unregistered-vector", "shell", {"x2apic-before-sec", "svsm-handles-its-registers"}),
]

#: Those that never come so far: a #GP in SEC, or no ticks any more. Such a run ends with its time.
HANGING = {"illegal-transition", "eoi-to-hypervisor", "vector-not-allowed"}


@pytest.mark.parametrize(("name", "rule", "until", "holding"), CAUGHT, ids=[name for name, *_ in CAUGHT])
def test_a_wrong_fix_is_caught(
    name: str, rule: str, until: str, holding: set[str], mutant: Build, tmp_path: Path
) -> None:
    timeout_s = 90 if name in HANGING else 600
    verdict = boot(mutant(name), tmp_path / "out", until=until, timeout_s=timeout_s).verdict
    assert verdict.status is Status.VIOLATED
    assert verdict.result(rule).status is Status.VIOLATED
    assert {other for other in holding if verdict.result(other).status is Status.HOLDS} == holding


#: Accesses of an AP before it takes over the BSP's mode: virtual wire mode, LVTs, timer (MpInitLib ApWakeupFunction).
BEFORE_SYNC = 18


def by_mmio(timeline: Timeline) -> int:
    """Accesses to the xAPIC page."""
    return sum(access.path is AccessPath.MMIO for access in timeline.accesses)


@pytest.mark.nested
@pytest.mark.parametrize("vcpus", [2, 4])
def test_aps_follow_the_bsp_before_their_first_access(mutant: Build, vcpus: int, tmp_path: Path) -> None:
    """On a real KVM, with firmware that takes Alternate Injection for active: without an SVSM it ends itself in DXE."""
    for name, status, offences in (
        ("everywhere", Status.HOLDS, 0),
        ("only-the-bsp", Status.VIOLATED, BEFORE_SYNC * (vcpus - 1)),
    ):
        timeline, verdict = _on_kvm(mutant(name), vcpus, tmp_path / name)
        found = verdict.result("no-xapic-after-x2apic")
        assert (found.status, len(found.offences)) == (status, offences)
        assert by_mmio(timeline) == offences
        writes = [(a.vcpu, a.value) for a in timeline.accesses if a.is_base and a.operation is Operation.WRITE]
        assert writes[0] == (0, 0xFEE00D00)
        assert sorted(writes[1:]) == [(vcpu, 0xFEE00C00) for vcpu in range(1, vcpus)]


@pytest.mark.parametrize("vcpus", [2, 4])
def test_aps_left_in_xapic_mode_are_caught(mutant: Build, vcpus: int, tmp_path: Path) -> None:
    """The same under an SVSM, where Alternate Injection is active."""
    result = boot(mutant("only-the-bsp"), tmp_path / "out", until="pei", vcpus=vcpus)
    found = result.verdict.result("no-xapic-after-x2apic")
    assert found.status is Status.VIOLATED
    # The first one ends the guest.
    assert {access.vcpu for access in found.offences} <= set(range(1, vcpus))
    assert "guest-termination" in {event.kind for event in result.timeline.events}
    assert {access.path for access in found.offences} == {AccessPath.MMIO}
    assert result.verdict.result("x2apic-before-sec").status is Status.HOLDS


def test_an_aps_call_through_the_bsps_calling_area_ends_the_guest(mutant: Build, tmp_path: Path) -> None:
    """The SVSM has another Calling Area for the AP's vCPU, and finds no call there."""
    result = boot(mutant("shared-calling-area"), tmp_path / "out", until="dxe", vcpus=2)
    [end] = [event for event in result.timeline.events if event.kind == "guest-termination"]
    assert end.vcpu == 1
    assert result.timeline.reached is Phase.PEI


def _on_kvm(firmware: Path, vcpus: int, out: Path) -> tuple[Timeline, Verdict]:
    result = run(RunSpec(firmware, until="pei", vcpus=vcpus, timeout_s=900), "nested", out)
    assert result.error is None
    assert result.timeline.complete
    return result.timeline, result.verdict
