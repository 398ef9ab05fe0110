# SPDX-License-Identifier: GPL-2.0-or-later
"""Lines of KVM's trace events, as several kernels write them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snp_harness.capture.kvm_trace import EVENTS, LINE_LIMIT, KvmEvent, KvmEventKind, parse_line
from tests.capture.kvm_lines import KERNELS, TRACES

_HEAD = b" qemu-system-x86-93      [000] .....     9.468485: "


def at(kind: KvmEventKind, **fields: Any) -> KvmEvent:
    """An event of the thread and time in _HEAD."""
    return KvmEvent(kind, 93, 9468485000, **fields)


#: An event's text, and its fields. Those of SEV guests, VMX and older kernels follow the kernels' printk formats.
TEXTS = {
    # 6.1 and 6.12, SVM.
    b"kvm_exit: vcpu 1 reason npf rip 0xfffcfbe6 info1 0x0000000100000004 info2 0x00000000fee000f0"
    b" intr_info 0x00000000 error_code 0x00000000": at(
        KvmEventKind.EXIT, vcpu=1, reason="npf", rip=0xFFFCFBE6, info1=0x100000004
    ),
    # 7.2.
    b"kvm_exit: vcpu 0 reason msr rip 0xfffff72f info1 0x0000000000000000 info2 0x0000000000000000"
    b" intr_info 0x00000000 error_code 0x00000000 requests 0x0000000000000000": at(
        KvmEventKind.EXIT, vcpu=0, reason="msr", rip=0xFFFFF72F, info1=0
    ),
    # VMX, with a flag of the reason.
    b"kvm_exit: vcpu 0 reason EPT_MISCONFIG FAILED_VMENTRY rip 0xfff0 info1 0x0000000000000000"
    b" info2 0x0000000000000000 intr_info 0x00000000 error_code 0x00000000": at(
        KvmEventKind.EXIT, vcpu=0, reason="EPT_MISCONFIG", rip=0xFFF0, info1=0
    ),
    # Before 5.9: no vCPU.
    b"kvm_exit: reason MSR_READ rip 0xfffcc54e info 0 0": at(
        KvmEventKind.EXIT, reason="MSR_READ", rip=0xFFFCC54E, info1=0
    ),
    b"kvm_apic: apic_read APIC_SPIV = 0xff": at(KvmEventKind.APIC, number=0xF0, value=0xFF),
    b"kvm_apic: apic_write APIC_TMICT = 0xffffffff": at(KvmEventKind.APIC, write=True, number=0x380, value=0xFFFFFFFF),
    # An offset that has no name: the second ISR.
    b"kvm_apic: apic_read 0x110 = 0x0": at(KvmEventKind.APIC, number=0x110, value=0),
    # A 64-bit ICR, since 5.18.
    b"kvm_apic: apic_write APIC_ICR = 0x1000000fd": at(KvmEventKind.APIC, write=True, number=0x300, value=0x1000000FD),
    b"kvm_msr: msr_read 1b = 0xfee00900": at(KvmEventKind.MSR, number=0x1B, value=0xFEE00900, size=8),
    b"kvm_msr: msr_write 1b = 0xfee00500 (#GP)": at(
        KvmEventKind.MSR, write=True, number=0x1B, value=0xFEE00500, size=8, refused=True
    ),
    b"kvm_msr: msr_read 80f = 0x0 (#GP)": at(KvmEventKind.MSR, number=0x80F, size=8, refused=True),
    b"kvm_mmio: mmio read len 4 gpa 0xfee000f0 val 0xff": at(KvmEventKind.MMIO, number=0xFEE000F0, value=0xFF, size=4),
    b"kvm_mmio: mmio write len 2 gpa 0xfee00380 val 0x1": at(
        KvmEventKind.MMIO, write=True, number=0xFEE00380, value=1, size=2
    ),
    b"kvm_mmio: mmio unsatisfied-read len 4 gpa 0xfee00020 val 0x0": at(
        KvmEventKind.MMIO, number=0xFEE00020, size=4, unanswered=True
    ),
    b"kvm_pio: pio_write at 0x510 size 2 count 1 val 0x19 ": at(
        KvmEventKind.PIO, write=True, number=0x510, value=0x19, size=2
    ),
    b"kvm_pio: pio_read at 0x402 size 1 count 8 val 0xe9 (...)": at(KvmEventKind.PIO, number=0x402, value=0xE9, size=1),
    b"kvm_avic_unaccelerated_access: vcpu=0, offset=0x380(APIC_TMICT), trap, write, vec=0x0": at(
        KvmEventKind.AVIC, vcpu=0, write=True, number=0x380
    ),
    # Of a newer kernel, and of 5.10.
    b"kvm_page_fault: vcpu 2 rip 0xfffcfbe6 address 0x00000000fee000f0 error_code 0x400000004": at(
        KvmEventKind.PAGE_FAULT, vcpu=2, number=0xFEE000F0, info1=0x400000004
    ),
    b"kvm_page_fault: address fee000f0 error_code 14": at(KvmEventKind.PAGE_FAULT, number=0xFEE000F0, info1=0x14),
    b"kvm_vmgexit_enter: vcpu 0, exit_reason 80000001, exit_info1 fee000f0, exit_info2 4": at(
        KvmEventKind.VMGEXIT, vcpu=0, number=0x80000001, info1=0xFEE000F0
    ),
    b"kvm_vmgexit_msr_protocol_enter: vcpu 0, ghcb_gpa 0000000200000016": at(
        KvmEventKind.GHCB_MSR, vcpu=0, number=0x200000016
    ),
}


@pytest.mark.parametrize(("text", "event"), TEXTS.items(), ids=lambda value: None)
def test_texts(text: bytes, event: KvmEvent) -> None:
    assert parse_line(_HEAD + text) == event


@pytest.mark.parametrize(
    "head",
    [
        # 5.10 has four flags, newer kernels five; a task's name may have any characters.
        b"       CPU 0/KVM-93      [007] d... 9.468485: ",
        b"           <...>-93      [007] .N.1.     9.468485: ",
        b" a-b [000] c: d-93    (    88) [007] .....     9.468485: ",
        b"qemu-kvm-93 [1023] 9.468485: ",
    ],
)
def test_heads(head: bytes) -> None:
    event = parse_line(head + b"kvm_apic: apic_read APIC_SPIV = 0xff")
    assert event == at(KvmEventKind.APIC, number=0xF0, value=0xFF)


@pytest.mark.parametrize(("line", "count"), [(b"CPU:1 [LOST 2345 EVENTS]", 2345), (b"CPU:12 [LOST EVENTS]", 1)])
def test_lost_events(line: bytes, count: int) -> None:
    assert parse_line(line) == KvmEvent(KvmEventKind.LOST, 0, 0, number=count)


@pytest.mark.parametrize(
    "line",
    [b"", b"# tracer: nop", _HEAD + b"kvm_entry: vcpu 0, rip 0xfff0", _HEAD + b"sched_switch: kvm_apic: apic_read"],
)
def test_lines_of_no_interest(line: bytes) -> None:
    assert parse_line(line) is None


@pytest.mark.parametrize(
    "line",
    [
        _HEAD + b"kvm_apic: apic_read APIC_NEW = 0xff",
        _HEAD + b"kvm_apic: read of SVR",
        _HEAD + b"kvm_msr: msr_read 1b = 0xfee00900 (?)",
        _HEAD + b"kvm_exit: ",
        _HEAD + b"kvm_mmio: mmio read len 4 gpa 0xfee000f0 val 0x" + b"f" * 17,
        b"x" * (LINE_LIMIT + 1),
        # Beginnings that no known kernel writes: a clock that counts ticks, and more flags.
        b" qemu-93 [000] d..1. 9468485: kvm_apic: apic_read APIC_SPIV = 0xff",
        b" qemu-93 [000] d..1. 9.468485123: kvm_apic: apic_read APIC_SPIV = 0xff",
        b" qemu-93 [000] d..1. ...N 9.468485: kvm_apic: apic_read APIC_SPIV = 0xff",
        b"9.468485: kvm_mmio: mmio read len 4 gpa 0xfee000f0 val 0x0",
    ],
)
def test_an_event_of_ours_in_an_unknown_form_is_not_overlooked(line: bytes) -> None:
    event = parse_line(line)
    assert event is not None
    assert event.kind is KvmEventKind.UNREAD


@pytest.mark.parametrize("kernel", KERNELS)
def test_recorded_traces_are_read_whole(kernel: str) -> None:
    lines = (TRACES / f"{kernel}.txt").read_bytes().splitlines()
    events = [parse_line(line) for line in lines]
    kinds = [event.kind for event in events if event is not None]
    assert KvmEventKind.UNREAD not in kinds
    assert kinds.count(KvmEventKind.APIC) == kinds.count(KvmEventKind.MMIO) == 7
    assert sum(event is None for event in events) == sum(b": kvm_entry: " in line for line in lines)


def test_every_event_that_is_asked_for_is_known() -> None:
    kinds = {kind.value for kind in KvmEventKind}
    assert set(EVENTS) <= kinds


@given(st.binary(max_size=300))
def test_any_bytes(line: bytes) -> None:
    parse_line(line)


@given(st.sampled_from(sorted(EVENTS)), st.text(max_size=120))
def test_any_text_of_an_event(name: str, text: str) -> None:
    event = parse_line(_HEAD + name.encode() + b": " + text.replace("\n", "").encode())
    assert event is not None


@given(
    st.sampled_from(("read", "write")),
    st.integers(0, 0x3F).map(lambda number: number << 4),
    st.integers(0, (1 << 64) - 1),
)
def test_any_access(direction: str, offset: int, value: int) -> None:
    event = parse_line(_HEAD + f"kvm_apic: apic_{direction} {offset:#x} = {value:#x}".encode())
    assert event == at(KvmEventKind.APIC, write=direction == "write", number=offset, value=value)
