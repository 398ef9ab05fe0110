# SPDX-License-Identifier: GPL-2.0-or-later
"""Host records as accesses, phases and events."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snp_harness.apic.access import Operation, Outcome, Path, Phase, Server
from snp_harness.apic.apic_base import ApicMode
from snp_harness.apic.registers import APIC_BASE
from snp_harness.apic.timeline import END_KINDS, Timeline
from snp_harness.capture import collect
from snp_harness.capture.record import (
    FLAG_WRITE,
    RecordEnd,
    RecordKind,
    RecordOutcome,
    RecordPath,
    RecordRefused,
    RecordViolation,
)
from snp_harness.launch.ring import RECORD_SIZE
from snp_harness.svsm.sev import C_BITS
from tests.capture.host_records import GUEST, PEI_BASE, SEC_BASE, X2APIC, XAPIC, Run


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
    run.apic(0x80B, 0, vmpl=0, aux=X2APIC, write=True)
    timeline = run.timeline()
    assert timeline.accesses == ()
    assert [event.kind for event in timeline.events] == ["other-vmpl-apic"]


def test_phases_go_forward_only(run: Run) -> None:
    run.add(RecordKind.CODE, rip=0xFFFFFFF0)
    run.apic(0xFEE000F0, 0xFF)
    run.apic(0xFEE00020, 0, rip=PEI_BASE + 4)
    run.apic(0xFEE00020, 0)
    run.add(RecordKind.MODULE, address=0x7E000000, value=0x9000 | 0x300 << 32, rip=0x7E000123)
    run.apic(0xFEE000B0, 0, rip=0x7E000200, write=True)
    run.apic(0xFEE00020, 0, rip=PEI_BASE + 4)
    run.add(RecordKind.CODE, rip=0xFFFFFFFF81000000)
    timeline = run.timeline()
    assert [(mark.phase, mark.index) for mark in timeline.phases] == [
        (Phase.RESET, 0),
        (Phase.SEC, 0),
        (Phase.PEI, 1),
        (Phase.DXE, 3),
        (Phase.OS, 5),
    ]
    assert [a.phase for a in timeline.accesses] == [Phase.SEC, Phase.PEI, Phase.PEI, Phase.DXE, Phase.DXE]
    assert [a.module for a in timeline.accesses] == ["SecMain", "CpuMpPei", "SecMain", "CpuDxe", "CpuMpPei"]
    assert timeline.accesses[3].module_offset == 0x200
    assert timeline.phases[3].evidence == "#VMEXIT in CpuDxe+123"
    assert timeline.reached is Phase.OS


def test_another_vmpl_shows_no_phase(run: Run) -> None:
    run.add(RecordKind.CODE, rip=PEI_BASE, vmpl=0)
    assert run.timeline().reached is Phase.RESET


def test_an_image_replaces_what_lay_there(run: Run) -> None:
    run.add(RecordKind.MODULE, address=PEI_BASE, value=0x9000 | 0x300 << 32, rip=PEI_BASE + 0x10)
    run.apic(0xFEE00020, 0, rip=PEI_BASE + 0x20)
    run.add(RecordKind.MODULE, address=PEI_BASE + 0x1000, value=0x1000 | 7 << 32, rip=PEI_BASE + 0x1010)
    run.apic(0xFEE00020, 0, rip=PEI_BASE + 0x1020)
    run.apic(0xFEE00020, 0, rip=PEI_BASE + 0x20)
    assert [a.module for a in run.timeline().accesses] == ["CpuDxe", None, "CpuMpPei"]


def test_violations_name_the_gpa(run: Run) -> None:
    run.add(RecordKind.RMP_VIOLATION, address=1 << 51 | 0xFEE000F0, value=0x404, aux=RecordViolation.MMIO, rip=SEC_BASE)
    run.add(RecordKind.RMP_VIOLATION, address=0x809000, aux=RecordViolation.PRIVATE, rip=SEC_BASE)
    run.add(RecordKind.RMP_VIOLATION, address=0x809000, aux=99)
    events = run.timeline().events
    assert [event.kind for event in events] == ["private-mmio", "rmp-violation", "rmp-violation"]
    assert events[0].fields["gpa"] == 1 << 51 | 0xFEE000F0
    assert events[0].text == "private access to a GPA without memory: GPA FEE000F0 (C=1) in SecMain+0"
    assert events[1].text == "shared access to a private page: GPA 809000 in SecMain+0"
    assert "violation 99" in events[2].text


@pytest.mark.parametrize("end", RecordEnd)
def test_every_end_is_explained(run: Run, end: RecordEnd) -> None:
    run.add(RecordKind.END, address=end, value=0x1234, extra=5, aux=0x7B, rip=SEC_BASE + 8)
    assert run.host.end is not None
    assert "SecMain+8" in run.host.end.text or run.host.end.hypervisor_failed
    [event] = run.timeline().events
    assert event.text == run.host.end.text
    assert "{" not in event.text
    assert event.kind in END_KINDS


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


@pytest.mark.parametrize("c_bit", C_BITS)
@pytest.mark.parametrize("end", [RecordEnd.PRIVATE_MMIO, RecordEnd.VMPL])
def test_an_end_names_the_gpa(run: Run, end: RecordEnd, c_bit: int) -> None:
    run.add(RecordKind.END, address=end, value=1 << c_bit | 0xFEE000F0, rip=SEC_BASE)
    assert run.host.end is not None
    assert " FEE000F0 (C=1), " in run.host.end.text


def test_an_unknown_end_and_an_unknown_kind(run: Run) -> None:
    run.add(RecordKind.END, address=999)
    run.add(4711)
    assert run.host.end is not None
    assert "999" in run.host.end.text
    assert run.host.unknown == 1


def test_text_is_made_printable(run: Run) -> None:
    words = [int.from_bytes(part, "little") for part in (b"no VMCB\x1b", b"[31m for", b" vCPU\0\0\0", b"garbage!")]
    run.add(RecordKind.TEXT, rip=words[0], address=words[1], value=words[2], extra=words[3], aux=42)
    assert run.timeline().events[0].text == "no VMCB?[31m for vCPU (line 42)"


def test_memory_stays_bounded(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collect, "ACCESS_LIMIT", 10)
    monkeypatch.setattr(collect, "SORT_LIMIT", 2)
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
