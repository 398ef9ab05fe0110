# SPDX-License-Identifier: GPL-2.0-or-later
"""Whose code was executed, and the phases that this shows to have begun."""

from __future__ import annotations

import dataclasses

import pytest

from snp_harness.apic.access import Phase
from snp_harness.apic.contract import evaluate
from snp_harness.apic.timeline import Known
from snp_harness.apic.verdict import RuleResult, Status
from snp_harness.capture.record import (
    RecordKind,
    RecordPath,
    RecordViolation,
)
from tests.capture.host_records import (
    BDS_BASE,
    DXE_BASE,
    FIRMWARE,
    GUEST,
    KERNEL,
    PEI_BASE,
    SEC_BASE,
    XAPIC,
    Run,
)


@pytest.fixture
def run() -> Run:
    return Run()


def test_phases_go_forward_only(run: Run) -> None:
    run.code(0xFFFFFFF0)
    run.apic(0xFEE000F0, 0xFF)
    run.apic(0xFEE00020, 0, rip=PEI_BASE + 4)
    run.apic(0xFEE00020, 0)
    run.image(DXE_BASE, 0x9000, 0x300)
    run.code(DXE_BASE + 0x123)
    run.apic(0xFEE000B0, 0, rip=DXE_BASE + 0x200, write=True)
    run.apic(0xFEE00020, 0, rip=PEI_BASE + 4)
    run.image(BDS_BASE, 0x5000, 0x400)
    run.code(BDS_BASE + 0x40)
    run.code(KERNEL, b"\x0f\x01\xd9")
    timeline = run.timeline()
    assert [(mark.phase, mark.index) for mark in timeline.phases] == [
        (Phase.RESET, 0),
        (Phase.SEC, 0),
        (Phase.PEI, 1),
        (Phase.DXE, 3),
        (Phase.BDS, 5),
        (Phase.OS, 5),
    ]
    # SEC's own code is SEC's at any time.
    assert [a.phase for a in timeline.accesses] == [Phase.SEC, Phase.PEI, Phase.SEC, Phase.DXE, Phase.DXE]
    assert [mark.known for mark in timeline.phases] == [Known.PROVEN] * 5 + [Known.INFERRED]
    assert timeline.complete
    assert [a.module for a in timeline.accesses] == ["SecMain", "CpuMpPei", "SecMain", "CpuDxe", "CpuMpPei"]
    assert timeline.accesses[3].module_offset == 0x200
    assert timeline.phases[3].evidence == "#VMEXIT in CpuDxe+123"
    assert timeline.reached is Phase.OS


def test_another_vmpl_shows_no_phase(run: Run) -> None:
    run.code(PEI_BASE, vmpl=0)
    assert run.timeline().reached is Phase.RESET


def test_an_svsm_that_runs_the_firmware_s_code_at_its_own_vmpl_is_a_gap(run: Run) -> None:
    """The accesses of that code are not judged: a firmware at VMPL2 that makes none must not get "holds"."""
    alternate(run)
    run.code(SEC_BASE + 0x40)
    run.apic(0xFEE00020, 0, vmpl=0)
    run.apic(0xFEE00030, 0, vmpl=0, rip=SEC_BASE + 0x3B60)
    run.code(PEI_BASE + 4)
    run.code(PEI_BASE + 8)
    timeline = run.timeline()
    gap = "VMPL0 executed code of the firmware (SecMain+3B52), whose accesses there were not judged"
    assert (timeline.accesses, timeline.gaps) == ((), (gap,))
    assert evaluate(timeline).status is Status.INCONCLUSIVE


def test_other_code_at_an_address_of_the_firmware_s_is_the_svsm_s(run: Run) -> None:
    run.code(SEC_BASE + 0x40, b"\x0f\x32" * 12, vmpl=0)
    assert run.timeline().gaps == ()


def test_another_vcpu_shows_no_phase(run: Run) -> None:
    run.code(SEC_BASE)
    run.code(PEI_BASE, vcpu=1)
    assert run.timeline().reached is Phase.SEC
    # What an AP executes is known all the same.
    run.apic(0xFEE00020, 0, rip=PEI_BASE, vcpu=1)
    run.code(PEI_BASE)
    run.apic(0xFEE00020, 0, rip=PEI_BASE, vcpu=1)
    assert [(a.module, a.phase) for a in run.timeline().accesses] == [
        ("CpuMpPei", Phase.UNKNOWN),
        ("CpuMpPei", Phase.PEI),
    ]


def verdict_of_sec(run: Run) -> RuleResult:
    return evaluate(run.timeline()).result("x2apic-before-sec")


NOPS = b"\x90" * 24


def alternate(run: Run) -> None:
    """Alternate Injection begins, and SEC runs."""
    run.add(RecordKind.ALTERNATE, address=GUEST, value=1, extra=0xFEE00900)
    run.code(SEC_BASE)


def test_a_header_alone_proves_nothing(run: Run) -> None:
    alternate(run)
    run.image(0x400000, 0x8000, 0x260)  # CpuMpPei's size and entry
    run.code(0x400010, NOPS)
    timeline = run.timeline()
    assert timeline.reached is Phase.SEC
    run.image(KERNEL, 0x8000, 0x260)
    run.code(KERNEL + 0x10, NOPS)
    assert run.timeline().reached is Phase.SEC
    # The module itself, wherever it was moved to.
    run.code(KERNEL + 0x10)
    assert run.timeline().phases[-1].evidence == "#VMEXIT in CpuMpPei+10"
    assert verdict_of_sec(run).status is Status.HOLDS


@pytest.mark.parametrize("rip", [0x400000, KERNEL, PEI_BASE + 0x80])
def test_code_of_no_module_may_be_sec_s(rip: int, run: Run) -> None:
    alternate(run)
    run.code(PEI_BASE)
    run.apic(0xFEE000F0, 0xFF, rip=PEI_BASE + 0x80)
    assert verdict_of_sec(run).status is Status.HOLDS
    run.code(rip + 0x40, NOPS)
    run.add(RecordKind.APIC, address=0xFEE000F0, rip=rip + 0x40, path=RecordPath.MMIO, size=4, aux=XAPIC)
    access = run.timeline().accesses[-1]
    assert (access.module, access.phase) == (None, Phase.UNKNOWN)
    result = verdict_of_sec(run)
    assert result.status is Status.INCONCLUSIVE
    assert result.reason == "1 local-APIC access outside x2APIC mode in a phase that was not observed"
    unread = dataclasses.replace(run.timeline(), defects=("A: refused",))
    reason = evaluate(unread).result("x2apic-before-sec").reason
    assert reason.endswith("not observed: parts of the firmware's image could not be read")


def test_code_that_was_replaced_after_it_was_seen(run: Run) -> None:
    alternate(run)
    run.code(PEI_BASE + 0x20)
    run.apic(0xFEE000F0, 0xFF, rip=PEI_BASE + 0x20)
    run.code(PEI_BASE + 0x20, NOPS)
    run.add(RecordKind.APIC, address=0xFEE000F0, rip=PEI_BASE + 0x20, path=RecordPath.MMIO, size=4, aux=XAPIC)
    # Without bytes nothing is known.
    run.add(RecordKind.APIC, address=0xFEE000F0, rip=PEI_BASE + 0x21, path=RecordPath.MMIO, size=4, aux=XAPIC)
    assert [a.phase for a in run.timeline().accesses] == [Phase.PEI, Phase.UNKNOWN, Phase.UNKNOWN]


def test_sec_s_code_is_sec_s_after_pei_has_begun(run: Run) -> None:
    alternate(run)
    run.code(PEI_BASE)
    run.apic(0xFEE000F0, 0xFF)
    result = verdict_of_sec(run)
    assert (result.status, [a.module for a in result.offences]) == (Status.VIOLATED, ["SecMain"])
    run.add(RecordKind.RMP_VIOLATION, address=0xFEE000F0, aux=RecordViolation.MMIO, rip=SEC_BASE)
    assert evaluate(run.timeline()).result("sec-apic-page-shared").status is Status.VIOLATED


def test_a_phase_that_was_not_seen_is_a_gap(run: Run) -> None:
    alternate(run)
    run.image(DXE_BASE, 0x9000, 0x300)
    run.code(DXE_BASE + 0x20)
    timeline = run.timeline()
    assert (timeline.reached, timeline.gaps) == (Phase.DXE, ("PEI was not seen before DXE",))
    result = verdict_of_sec(run)
    assert result.status is Status.INCONCLUSIVE
    assert result.reason == "the end of SEC was not seen: DXE is proven (#VMEXIT in CpuDxe+20)"


def test_the_upper_half_is_an_operating_system_s_after_bds_only(run: Run) -> None:
    alternate(run)
    run.code(KERNEL, NOPS)
    assert run.timeline().reached is Phase.SEC
    # SEC's code under another address is nobody's.
    run.code(KERNEL + 0x20, FIRMWARE.code(SEC_BASE + 0x20))
    assert run.timeline().reached is Phase.SEC


def test_an_image_replaces_what_lay_there(run: Run) -> None:
    run.image(PEI_BASE, 0x9000, 0x300)
    run.apic(0xFEE00020, 0, rip=PEI_BASE + 0x20)
    run.image(PEI_BASE + 0x1000, 0x1000, 7)
    run.code(PEI_BASE + 0x1020, NOPS)
    run.add(RecordKind.APIC, address=0xFEE00020, rip=PEI_BASE + 0x1020, path=RecordPath.MMIO, size=4, aux=XAPIC)
    run.apic(0xFEE00020, 0, rip=PEI_BASE + 0x20)
    assert [a.module for a in run.timeline().accesses] == ["CpuDxe", None, "CpuMpPei"]
