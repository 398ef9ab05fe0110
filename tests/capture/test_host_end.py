# SPDX-License-Identifier: GPL-2.0-or-later
"""Why the emulated hypervisor stopped, as an event and in words."""

from __future__ import annotations

import pytest

from snp_harness.apic.event_kinds import END_KINDS
from snp_harness.capture.record import RecordEnd, RecordKind, RecordViolation
from snp_harness.svsm.sev import C_BITS
from tests.capture.host_records import SEC_BASE, Run


@pytest.fixture
def run() -> Run:
    return Run()


@pytest.mark.parametrize("end", RecordEnd)
def test_every_end_is_explained(run: Run, end: RecordEnd) -> None:
    run.add(RecordKind.END, address=end, value=0x1234, extra=5, aux=0x7B, rip=SEC_BASE + 8)
    assert run.host.end is not None
    assert "SecMain+8" in run.host.end.text or run.host.end.hypervisor_failed
    [event] = run.timeline().events
    assert event.text == run.host.end.text
    assert "{" not in event.text
    assert event.kind in END_KINDS


@pytest.mark.parametrize("c_bit", C_BITS)
@pytest.mark.parametrize("end", [RecordEnd.PRIVATE_MMIO, RecordEnd.VMPL])
def test_an_end_names_the_gpa(run: Run, end: RecordEnd, c_bit: int) -> None:
    run.add(RecordKind.END, address=end, value=1 << c_bit | 0xFEE000F0, rip=SEC_BASE)
    assert run.host.end is not None
    assert " FEE000F0 (C=1), " in run.host.end.text


@pytest.mark.parametrize(
    ("extra", "text"),
    [
        (0xFEE000F0, "), which accesses GPA FEE000F0, local-APIC register SVR, at pc"),
        (0xFEC00000, "), which accesses GPA FEC00000, at pc"),
        (0x7B, "(bytes, little endian), at pc"),
    ],
)
def test_an_instruction_that_ends_the_run_names_the_register(run: Run, extra: int, text: str) -> None:
    run.add(RecordKind.END, address=RecordEnd.INSTRUCTION, value=0x0F10, extra=extra, rip=SEC_BASE)
    assert run.host.end is not None
    assert text in run.host.end.text


@pytest.mark.parametrize(
    ("end", "value", "extra", "text"),
    [
        (RecordEnd.TERMINATE, 0, 1, "reason set 0, reason 1 (GHCB protocol version not supported), at pc"),
        (RecordEnd.TERMINATE, 1, 3, "reason set 1, reason 3 (not at VMPL0), at pc"),
        (RecordEnd.TERMINATE, 7, 5, "reason set 7, reason 5 (the SVSM misses a hypervisor feature), at pc"),
        (RecordEnd.TERMINATE, 5, 0x67, "reason set 5, reason 67, at pc"),
        (RecordEnd.VC, 0x7C, 2, "#VC 7C could not be delivered, failure 2 (the IDT has no gate for it), at pc"),
        (RecordEnd.NAE, 0x404, 0, "404 (#VC for a page that is not validated), at pc"),
        (RecordEnd.NAE, 0x7B, 0, "does not support, 7B, at pc"),
    ],
)
def test_the_numbers_of_an_end_in_words(run: Run, end: RecordEnd, value: int, extra: int, text: str) -> None:
    run.add(RecordKind.END, address=end, value=value, extra=extra, rip=0x1000)
    assert text in run.timeline().events[-1].text


def test_an_end_names_the_violation_before_it(run: Run) -> None:
    run.code(SEC_BASE + 0x10)
    run.add(RecordKind.RMP_VIOLATION, address=0x1FF50000, aux=RecordViolation.NOT_VALIDATED, rip=SEC_BASE + 0x10)
    run.add(RecordKind.RMP_VIOLATION, address=0xFEE00000, aux=RecordViolation.MMIO, rip=SEC_BASE + 0x10)
    run.add(RecordKind.END, address=RecordEnd.NAE, value=0x404, rip=0x1000, vcpu=1)
    run.add(RecordKind.END, address=RecordEnd.NAE, value=0x404, rip=0x1000)
    other, own = run.timeline().events[-2:]
    assert "after" not in other.text
    said = "private access to a page that is not validated: GPA 1FF50000 in SecMain+10"
    assert f"(#VC for a page that is not validated), after {said}, at pc 1000" in own.text


def test_an_unknown_end(run: Run) -> None:
    run.add(RecordKind.END, address=999)
    assert run.host.end is not None
    assert "999" in run.host.end.text


@pytest.mark.parametrize(
    ("end", "kind", "text"),
    [
        (RecordEnd.TERMINATE, "svsm-termination", "the SVSM asked to be ended, reason set 0, reason 5, at pc"),
        (RecordEnd.SHUTDOWN, "svsm-termination", "the SVSM shut down (triple fault), at pc"),
        (RecordEnd.DEBUG_EXIT, "svsm-exit", "the SVSM ended by isa-debug-exit with status 0, at pc"),
        # Rules judge the firmware's own.
        (RecordEnd.PRIVATE_MMIO, "host-end", "the SVSM accessed 0, where"),
    ],
)
def test_an_end_of_the_svsm_s_doing_is_not_the_guest_s(run: Run, end: RecordEnd, kind: str, text: str) -> None:
    run.add(RecordKind.END, address=end, value=0, extra=5, vmpl=0, rip=SEC_BASE)
    timeline = run.timeline()
    [event] = timeline.events
    assert (event.kind, event.text[: len(text)]) == (kind, text)
    assert "SecMain" not in event.text
    assert timeline.guest_exit is None


def test_a_violation_of_the_svsm_does_not_explain_the_guest_s_end(run: Run) -> None:
    """It probes the guest's pages, and resumes after the fault."""
    run.add(RecordKind.RMP_VIOLATION, address=0x4000, aux=RecordViolation.NOT_VALIDATED, vmpl=0, rip=0x5000001B4A)
    run.add(RecordKind.END, address=RecordEnd.TERMINATE, value=6)
    assert run.host.end is not None
    assert "after" not in run.host.end.text
