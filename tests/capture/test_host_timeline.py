# SPDX-License-Identifier: GPL-2.0-or-later
"""Host records as accesses, phases and events."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snp_harness.apic.access import VMPL_MAX, Operation, Outcome, Path, Phase, Server
from snp_harness.apic.apic_base import ApicMode
from snp_harness.apic.contract import evaluate
from snp_harness.apic.registers import APIC_BASE
from snp_harness.apic.timeline import END_KINDS, Known, Timeline
from snp_harness.apic.verdict import RuleResult, Status
from snp_harness.capture import collect, condense
from snp_harness.capture.record import (
    FLAG_WRITE,
    RecordKind,
    RecordOutcome,
    RecordPath,
    RecordRefused,
    RecordViolation,
)
from snp_harness.launch.ring import RECORD_SIZE
from tests.capture.host_records import (
    BDS_BASE,
    DXE_BASE,
    FIRMWARE,
    GUEST,
    KERNEL,
    PEI_BASE,
    SEC_BASE,
    SVSM,
    X2APIC,
    XAPIC,
    Run,
)


@pytest.fixture
def run() -> Run:
    return Run()


def test_an_mmio_write(run: Run) -> None:
    run.apic(0xFEE00380, 0xFFFFFFFF, write=True)
    [access] = run.timeline().accesses
    assert access.operation is Operation.WRITE
    assert access.register.name == "Timer Initial Count"
    assert (access.path, access.value, access.size) == (Path.MMIO, 0xFFFFFFFF, 4)
    assert (access.vcpu, access.vmpl, access.mode) == (0, GUEST, ApicMode.XAPIC)
    assert (access.outcome, access.served_by) == (Outcome.OK, Server.HYPERVISOR)
    assert (access.module, access.module_offset, access.phase) == ("SecMain", 0x3B52, Phase.SEC)


def test_msr_and_svsm_accesses(run: Run) -> None:
    run.apic(0x832, 0x10000, aux=X2APIC)
    run.apic(0x80B, 0, aux=X2APIC, path=RecordPath.SVSM, write=True)
    run.apic(0x832, 0, aux=XAPIC, outcome=RecordOutcome.GP)
    run.apic(0xFEE00020, 0xFFFFFFFF, aux=X2APIC, outcome=RecordOutcome.NOT_CLAIMED)
    accesses = run.timeline().accesses
    assert [a.register.name for a in accesses] == ["Timer LVT", "EOI", "Timer LVT", "APIC ID"]
    assert [a.path for a in accesses] == [Path.MSR, Path.SVSM, Path.MSR, Path.MMIO]
    # A refusal is an answer.
    assert [a.served_by for a in accesses] == [Server.HYPERVISOR, Server.SVSM, Server.HYPERVISOR, Server.NOBODY]
    assert [a.outcome for a in accesses] == [Outcome.OK, Outcome.OK, Outcome.GP, Outcome.NOT_CLAIMED]


def test_a_vmpl_that_does_not_exist_is_not_observed(run: Run) -> None:
    run.apic(0xFEE00020, 0, vmpl=VMPL_MAX + 1)
    timeline = run.timeline()
    assert [access.vmpl for access in timeline.accesses] == [None]
    assert Timeline.from_jsonl(timeline.to_jsonl()) == timeline


def test_apic_base(run: Run) -> None:
    run.add(
        RecordKind.APIC_BASE,
        value=0xFEE00D00,
        extra=0xFEE00900,
        aux=XAPIC,
        flags=FLAG_WRITE,
        size=8,
        path=RecordPath.MSR,
    )
    [access] = run.timeline().accesses
    assert access.register == APIC_BASE
    assert access.is_base
    assert access.mode is ApicMode.XAPIC


def test_the_svsm_s_own_accesses_are_events(run: Run) -> None:
    run.apic(0x80B, 0, vmpl=0, rip=SVSM, aux=X2APIC, write=True)
    timeline = run.timeline()
    assert timeline.accesses == ()
    assert [event.kind for event in timeline.events] == ["svsm-stage", "other-vmpl-apic", "svsm-activity"]


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


def test_violations_name_the_gpa(run: Run) -> None:
    run.code(SEC_BASE)
    run.add(RecordKind.RMP_VIOLATION, address=1 << 51 | 0xFEE000F0, value=0x404, aux=RecordViolation.MMIO, rip=SEC_BASE)
    run.add(RecordKind.RMP_VIOLATION, address=0x809000, aux=RecordViolation.PRIVATE, rip=SEC_BASE)
    run.add(RecordKind.RMP_VIOLATION, address=0x809000, aux=99)
    events = run.timeline().events
    assert [event.kind for event in events] == ["private-mmio", "rmp-violation", "rmp-violation"]
    assert events[0].fields["gpa"] == 1 << 51 | 0xFEE000F0
    assert events[0].text == "private access to a GPA without memory: GPA FEE000F0 (C=1) in SecMain+0"
    assert events[1].text == "shared access to a private page: GPA 809000 in SecMain+0"
    assert "violation 99" in events[2].text


def test_a_refused_write_names_its_place(run: Run) -> None:
    run.add(RecordKind.REFUSED, address=0x60, value=1, aux=RecordRefused.WINDOW, rip=SEC_BASE)
    run.add(RecordKind.REFUSED, address=0x92, aux=99)
    first, second = run.timeline().events
    assert first.kind == second.kind == "device-write-refused"
    assert "configuration space 60, value 1, in SecMain+0" in first.text
    assert "sort 99" in second.text
    assert run.host.end is None


@pytest.mark.parametrize("violation", RecordViolation)
def test_no_violation_ends_a_run(run: Run, violation: RecordViolation) -> None:
    run.add(RecordKind.RMP_VIOLATION, address=0x809000, aux=violation, rip=SEC_BASE)
    [event] = run.timeline().events
    assert event.kind not in END_KINDS
    assert run.host.end is None


def test_the_guest_s_features_are_those_that_the_svsm_gave_it_first(run: Run) -> None:
    """Firmware that has ended Alternate Injection may create VMSAs without it, or have the SVSM do so."""
    create, guest = 1, GUEST << 16
    run.add(RecordKind.VMSA, vmpl=0, value=create, extra=0x29)  # the SVSM's own, of another vCPU
    assert run.host.guest_features is None
    run.add(RecordKind.VMSA, vmpl=0, value=guest | create, extra=0x11)
    run.add(RecordKind.VMSA, vmpl=0, value=guest | create | 1 << 32, extra=1)
    run.add(RecordKind.VMSA, vmpl=GUEST, value=guest | create | 1 << 32, extra=1)
    assert run.host.guest_features == 0x11


def test_an_unknown_kind(run: Run) -> None:
    run.add(4711)
    assert run.host.unknown == 1


def test_text_is_made_printable(run: Run) -> None:
    words = [int.from_bytes(part, "little") for part in (b"no VMCB\x1b", b"[31m for", b" vCPU\0\0\0", b"garbage!")]
    run.add(RecordKind.TEXT, rip=words[0], address=words[1], value=words[2], extra=words[3], aux=42)
    assert run.timeline().events[0].text == "no VMCB?[31m for vCPU (line 42)"


def test_the_modes_that_are_set_are_kept_when_accesses_are_condensed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(condense, "ACCESS_LIMIT", 0)
    monkeypatch.setattr(condense, "SORT_LIMIT", 1)
    for value in (0xFEE00D00, 0xFEE00D00, 0xFEE00100, 0xFEE00100):
        run.add(RecordKind.APIC_BASE, value=value, flags=FLAG_WRITE, aux=X2APIC)
    assert [access.value for access in run.timeline().accesses] == [0xFEE00D00, 0xFEE00100]


def test_memory_stays_bounded(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(condense, "ACCESS_LIMIT", 10)
    monkeypatch.setattr(condense, "SORT_LIMIT", 2)
    monkeypatch.setattr(collect, "EVENT_LIMIT", 3)
    for number in range(30):
        run.apic(0xFEE000B0, number, write=True)
    run.apic(0xFEE00020, 0, outcome=RecordOutcome.GP)
    timeline = run.timeline()
    assert [a.register.name for a in timeline.accesses] == ["EOI"] * 12 + ["APIC ID"]
    assert timeline.complete
    assert timeline.events[-1].kind == "condensed"
    assert timeline.events[-1].fields["accesses"] == 18
    for _ in range(5):
        run.add(RecordKind.VMSA)
    assert run.timeline().gaps == ("2 events were not kept",)


CONTENTS = st.lists(st.binary(min_size=RECORD_SIZE - 2, max_size=RECORD_SIZE - 2), max_size=30)


@given(CONTENTS, st.sampled_from(RecordKind))
def test_any_record_is_survived(contents: list[bytes], kind: int) -> None:
    run = Run()
    for content in contents:
        run.host.take(content[:52] + kind.to_bytes(2, "little") + content[52:])
    timeline = run.timeline()
    assert Timeline.from_jsonl(timeline.to_jsonl()) == timeline
