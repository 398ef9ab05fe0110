# SPDX-License-Identifier: GPL-2.0-or-later
"""Host records as events."""

from __future__ import annotations

import pytest

from snp_harness.apic.event_kinds import END_KINDS
from snp_harness.capture.record import (
    RecordKind,
    RecordRefused,
    RecordViolation,
)
from tests.capture.host_records import (
    GUEST,
    SEC_BASE,
    SVSM,
    X2APIC,
    Run,
)


@pytest.fixture
def run() -> Run:
    return Run()


def test_the_svsm_s_own_accesses_are_events(run: Run) -> None:
    run.apic(0x80B, 0, vmpl=0, rip=SVSM, aux=X2APIC, write=True)
    timeline = run.timeline()
    assert timeline.accesses == ()
    assert [event.kind for event in timeline.events] == ["svsm-stage", "other-vmpl-apic", "svsm-activity"]


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


def test_text_is_made_printable(run: Run) -> None:
    words = [int.from_bytes(part, "little") for part in (b"no VMCB\x1b", b"[31m for", b" vCPU\0\0\0", b"garbage!")]
    run.add(RecordKind.TEXT, rip=words[0], address=words[1], value=words[2], extra=words[3], aux=42)
    assert run.timeline().events[0].text == "no VMCB?[31m for vCPU (line 42)"
