# SPDX-License-Identifier: GPL-2.0-or-later
"""Several vCPUs on the emulated host: OVMF starts its APs in PEI and again in DXE, in each configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from snp_harness.apic.access import Access, Phase
from snp_harness.apic.timeline import Timeline
from snp_harness.vm import rundir
from tests.helpers.run_records import records_to_goal
from tests.platforms.boots import boot, check_seven

pytestmark = pytest.mark.emulated

#: Configuration, and the VMPL that its firmware runs at.
CONFIGURATIONS = [("plain", 0), ("no-svsm", 0), ("alternate-injection-off", 2)]
#: How OVMF starts an AP: INIT and SIPI without SEV, AP creation with SNP.
CREATED = {"plain": False, "no-svsm": True, "alternate-injection-off": True}


def told(accesses: list[Access]) -> list[tuple[object, ...]]:
    """Accesses without the fields that differ between vCPUs."""
    return [(a.operation, a.register, a.path, a.mode, a.outcome, a.served_by) for a in accesses if not a.is_base]


def check_aps(timeline: Timeline, vcpus: int, phase: Phase) -> None:
    """Each AP makes the same accesses as any other in a phase, and makes some."""
    of_first = told([a for a in timeline.accesses if a.vcpu == 1 and a.phase is phase])
    assert of_first
    for vcpu in range(2, vcpus):
        assert told([a for a in timeline.accesses if a.vcpu == vcpu and a.phase is phase]) == of_first


def creations(timeline: Timeline) -> set[int]:
    """APIC IDs that the firmware created a VMSA for (SW_EXITINFO1 63:32 of AP creation, operation 1)."""
    events = [event for event in timeline.events if event.kind == "vmsa"]
    infos = [int(event.fields["info1"]) for event in events]
    return {info >> 32 for info in infos if info & 0xFFFF == 1}


@pytest.mark.parametrize(("config", "vmpl"), CONFIGURATIONS)
def test_the_aps_run_in_pei(config: str, vmpl: int, trixie_path: Path, tmp_path: Path) -> None:
    timeline = boot(trixie_path, tmp_path / "out", config, vcpus=3, until="pei").timeline
    assert timeline.complete
    check_seven(timeline, vmpl)
    assert {(a.vcpu, a.vmpl) for a in timeline.accesses} == {(vcpu, vmpl) for vcpu in range(3)}
    check_aps(timeline, 3, Phase.PEI)
    assert creations(timeline) >= ({1, 2} if CREATED[config] else set())


@pytest.mark.slow
@pytest.mark.parametrize("vcpus", [2, 4, 16])
@pytest.mark.parametrize(("config", "vmpl"), CONFIGURATIONS)
def test_the_shell(config: str, vmpl: int, vcpus: int, trixie_path: Path, tmp_path: Path) -> None:
    result = boot(trixie_path, tmp_path / "out", config, vcpus=vcpus, until="shell")
    assert result.timeline.complete
    assert "Shell> " in (result.directory / rundir.SERIAL).read_text(errors="replace")
    check_seven(result.timeline, vmpl)
    for phase in (Phase.PEI, Phase.DXE):
        check_aps(result.timeline, vcpus, phase)


@pytest.mark.slow
@pytest.mark.parametrize("config", ["plain", "alternate-injection-off"])
def test_counted_instructions_make_records_repeat(config: str, trixie_path: Path, tmp_path: Path) -> None:
    logs = []
    for name in ("first", "second"):
        result = boot(trixie_path, tmp_path / name, config, vcpus=2, until="pei", icount=True)
        check_aps(result.timeline, 2, Phase.PEI)
        logs.append(list(records_to_goal(result.directory)))
    assert logs[0] == logs[1]
