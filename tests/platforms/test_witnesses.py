# SPDX-License-Identifier: GPL-2.0-or-later
"""Two witnesses of one boot, and one boot on two platforms, agree access by access."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from snp_harness.apic.access import Operation, Phase
from snp_harness.apic.event_kinds import AGREEMENT
from snp_harness.apic.timeline import Timeline
from snp_harness.capture.agree import disagreement
from snp_harness.firmware_run import RunSpec
from snp_harness.svsm.config_files import load_config
from snp_harness.vm import rundir
from tests.apic.samples import SEVEN
from tests.platforms.boots import PATIENCE_S, boot, check_seven, run
from tests.platforms.sec import sec_accesses, told

pytestmark = pytest.mark.emulated

FIRMWARE = ["trixie_path", "amdsev_path"]
#: Offsets in the APIC page.
EOI, LINT0, CURRENT_COUNT = 0x0B0, 0x350, 0x390


def check_both(trusted: Timeline, second: Timeline | None) -> None:
    """What one saw of the APIC's registers, the other saw. QEMU's trace goes on until QEMU is stopped."""
    assert second is not None
    assert trusted.complete, trusted.gaps
    check_seven(trusted, 2)
    assert told(sec_accesses(second)) == SEVEN
    agreed = [event.text for event in trusted.events if event.kind == AGREEMENT]
    assert agreed[-1] == "emulated host log and QEMU trace events, access by access"
    seen = sum(not access.is_base for access in trusted.accesses)
    shared = [access for access in second.accesses if not access.is_base][: seen + 1]
    assert disagreement(trusted, dataclasses.replace(second, accesses=tuple(shared))) is None


@pytest.mark.parametrize("firmware", FIRMWARE)
def test_two_witnesses_agree_to_dxe(
    firmware: str, request: pytest.FixtureRequest, qemu: Path | None, tmp_path: Path
) -> None:
    result = boot(request.getfixturevalue(firmware), tmp_path / "out", "two-witnesses", until="dxe", qemu=qemu)
    check_both(result.timeline, result.second)
    assert result.second is not None
    assert sum(not access.is_base for access in result.second.accesses) > 30
    stored = Timeline.from_jsonl((result.directory / rundir.SECOND_TIMELINE).read_text())
    assert stored == result.second


@pytest.mark.slow
@pytest.mark.parametrize("firmware", FIRMWARE)
def test_two_witnesses_agree_to_the_prompt(
    firmware: str, request: pytest.FixtureRequest, qemu: Path | None, tmp_path: Path
) -> None:
    result = boot(request.getfixturevalue(firmware), tmp_path / "out", "two-witnesses", until="shell", qemu=qemu)
    check_both(result.timeline, result.second)
    assert result.second is not None
    # The timer's ticks, each with its EOI: as many as the boot takes time for.
    assert sum(access.register.offset == EOI for access in result.second.accesses) > 5


def set_up(timeline: Timeline, phase: Phase) -> list[tuple[Operation, int | None, int | None]]:
    """Register accesses of a phase that are no matter of time: ticks end when they end, and a count is what it is."""
    return told(
        [
            access
            for access in timeline.accesses
            if access.phase is phase and not access.is_base and access.register.offset not in (EOI, CURRENT_COUNT)
        ]
    )


@pytest.mark.tcg
@pytest.mark.parametrize("firmware", [*FIRMWARE, pytest.param("bookworm_path", marks=pytest.mark.slow)])
def test_the_emulated_host_without_sev_is_as_plain_tcg(
    firmware: str, request: pytest.FixtureRequest, qemu: Path | None, tmp_path: Path
) -> None:
    path = request.getfixturevalue(firmware)
    spec = RunSpec(path, svsm=load_config("plain"), until="dxe", qemu=qemu, timeout_s=PATIENCE_S)
    emulated = run(spec, "emulated", tmp_path / "emulated").timeline
    tcg = run(spec, "tcg", tmp_path / "tcg").timeline
    assert emulated.complete
    assert tcg.complete
    assert set_up(emulated, Phase.SEC) == set_up(tcg, Phase.SEC) == SEVEN
    # Phases after SEC begin a little later for the trace's witness; together they are the same accesses.
    ours = set_up(emulated, Phase.PEI) + set_up(emulated, Phase.DXE)
    theirs = set_up(tcg, Phase.PEI) + set_up(tcg, Phase.DXE)
    assert len(ours) > 20
    # The boot processor's LINT0 after reset: KVM's APIC passes the PIC through (lapic.c, kvm_lapic_reset), and so does
    # the emulated host's; QEMU's masks it.
    assert [pair for pair in zip(ours, theirs, strict=True) if pair[0] != pair[1]] == [
        ((Operation.READ, LINT0, 0x700), (Operation.READ, LINT0, 0x10000))
    ]
