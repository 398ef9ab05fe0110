# SPDX-License-Identifier: GPL-2.0-or-later
"""Wrong fixes, each a small edit on top of the series, are caught by the rule that exists for them."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.apic.access import Operation
from harness.apic.access import Path as AccessPath
from harness.apic.timeline import Timeline
from harness.apic.verdict import Status
from harness.capture import trace_timeline
from harness.run import RunSpec, run
from tests.ovmf_patches.conftest import Build
from tests.platforms.boots import boot

pytestmark = [pytest.mark.edk2, pytest.mark.slow, pytest.mark.emulated]

#: Mutant, the rule that must catch it, how far it has to run, rules that must hold all the same.
CAUGHT = [
    ("too-late", "x2apic-before-sec", "pei", {"legal-transition"}),
    ("stray-access", "no-xapic-after-x2apic", "dxe", {"x2apic-before-sec", "legal-transition"}),
    ("illegal-transition", "legal-transition", "pei", set()),
    ("left-again", "no-xapic-after-x2apic", "pei", {"x2apic-before-sec", "legal-transition"}),
    ("eoi-to-hypervisor", "svsm-handles-its-registers", "shell", {"x2apic-before-sec", "no-xapic-after-x2apic"}),
    ("no-query", "apic-protocol-used-only-when-offered", "pei", {"x2apic-before-sec", "svsm-handles-its-registers"}),
    ("vector-not-allowed", "no-unregistered-vector", "shell", {"x2apic-before-sec", "svsm-handles-its-registers"}),
]


@pytest.mark.parametrize(("name", "rule", "until", "holding"), CAUGHT, ids=[name for name, *_ in CAUGHT])
def test_a_wrong_fix_is_caught(
    name: str, rule: str, until: str, holding: set[str], mutant: Build, tmp_path: Path
) -> None:
    verdict = boot(mutant(name), tmp_path / "out", until=until, timeout_s=60).verdict
    assert verdict.status is Status.VIOLATED
    assert verdict.result(rule).status is Status.VIOLATED
    assert {other for other in holding if verdict.result(other).status is Status.HOLDS} == holding


#: Accesses of an AP before it takes over the BSP's mode: virtual wire mode, LVTs, timer (MpInitLib ApWakeupFunction).
BEFORE_SYNC = 18


def by_mmio(timeline: Timeline) -> int:
    """Accesses to the xAPIC page, as far as the witness tells them from MSR accesses: until DXE uses MMCONFIG."""
    return sum(access.path is AccessPath.MMIO for access in timeline.accesses)


@pytest.mark.tcg
@pytest.mark.parametrize("vcpus", [2, 4])
def test_aps_follow_the_bsp_before_their_first_access(
    mutant: Build, newer_qemu: Path, vcpus: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On plain TCG, with firmware that takes Alternate Injection for active: no SNP platform has several vCPUs yet."""
    # On a busy machine vCPUs that wait for one another fill the log before the APs run.
    monkeypatch.setattr(trace_timeline, "REGION_LINES", 10**7)
    seen = {}
    for name in ("everywhere", "only-the-bsp"):
        spec = RunSpec(
            mutant(name),
            until="dxe",
            vcpus=vcpus,
            qemu=newer_qemu,
            extra_args=("-cpu", "EPYC-v4,+x2apic"),
            timeout_s=200,
        )
        result = run(spec, "tcg", tmp_path / name)
        seen[name] = result.timeline
        found = result.verdict.result("no-xapic-after-x2apic")
        # From DXE on the witness does not tell paths any more: then it is at least no "holds".
        assert found.status is (Status.INCONCLUSIVE if name == "everywhere" else Status.VIOLATED)
        assert len(found.offences) == by_mmio(result.timeline)
    assert by_mmio(seen["everywhere"]) == 0
    assert 0 < by_mmio(seen["only-the-bsp"]) <= BEFORE_SYNC * (vcpus - 1)
    for timeline in seen.values():
        writes = [a.value for a in timeline.accesses if a.is_base and a.operation is Operation.WRITE]
        assert writes == [0xFEE00D00] + [0xFEE00C00] * (vcpus - 1)
