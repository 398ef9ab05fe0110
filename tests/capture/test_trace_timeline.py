# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's trace as a timeline: the two halves of an access, modes and phases."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snp_harness.apic.access import Access, Operation, Outcome, Path, Phase
from snp_harness.apic.apic_base import ApicMode
from snp_harness.apic.timeline import Timeline
from snp_harness.capture import trace_timeline
from tests.capture.qemu_lines import RECORDED_7_2, timeline_of


def registers(timeline: Timeline) -> list[Access]:
    return [access for access in timeline.accesses if not access.is_base]


def test_a_recorded_boot() -> None:
    timeline, trace = timeline_of(RECORDED_7_2)
    seen = [(a.operation, a.register.name, a.value, a.size, a.phase, a.path) for a in registers(timeline)]
    assert seen == [
        (Operation.READ, "SVR", 0xFF, 4, Phase.SEC, Path.MMIO),
        (Operation.WRITE, "SVR", 0x1FF, 4, Phase.SEC, Path.MMIO),
        (Operation.READ, "APIC ID", 0, 4, Phase.PEI, Path.MMIO),
        (Operation.WRITE, "Timer Divide", 0xB, None, Phase.DXE, Path.MMIO),
    ]
    assert [(mark.phase, mark.index) for mark in timeline.phases] == [(Phase.SEC, 0), (Phase.PEI, 3), (Phase.DXE, 4)]
    assert timeline.accesses[1].time_ns == 53_000
    assert not trace.regions_wanted


def test_an_access_without_its_half_is_by_msr_in_x2apic_mode() -> None:
    timeline, _ = timeline_of(b"cpu_set_apic_base 0xfee00d00\napic_register_write register 0x32 = 0x20005\n")
    base, access = timeline.accesses
    assert (base.outcome, base.mode) == (Outcome.NOT_OBSERVED, ApicMode.XAPIC)
    assert (access.path, access.mode, access.size) == (Path.MSR, ApicMode.X2APIC, 8)


def test_mmio_in_x2apic_mode_shows() -> None:
    page = b"memory_region_ops_write cpu 0 mr 0x1 addr 0xfee00320 value 0x20005 size 4 name 'apic-msi'\n"
    timeline, _ = timeline_of(
        b"cpu_set_apic_base 0xfee00d00\n" + page + b"apic_register_write register 0x32 = 0x20005\n"
    )
    assert (timeline.accesses[1].path, timeline.accesses[1].mode) == (Path.MMIO, ApicMode.X2APIC)


def test_the_path_is_unknown_once_the_regions_are_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace_timeline, "REGION_LINES", 0)
    poll = b"memory_region_ops_read cpu 0 mr 0x1 addr 0x608 value 0x0 size 4 name 'acpi-tmr'\n"
    read = b"apic_register_read register 0x02 = 0x0\n"
    timeline, trace = timeline_of(b"cpu_set_apic_base 0xfee00d00\n" + read + read + poll, after=read)
    assert not trace.regions_wanted
    assert [access.path for access in registers(timeline)] == [Path.MSR, Path.UNKNOWN, Path.UNKNOWN]


def test_a_write_after_a_read_without_its_half_keeps_the_order() -> None:
    timeline, _ = timeline_of(b"apic_mem_readl 0xf0 = 0x10f\napic_mem_writel 0xf0 = 0x10f\n")
    assert [access.operation for access in timeline.accesses] == [Operation.READ, Operation.WRITE]


def test_a_refused_transition_keeps_the_mode() -> None:
    data = b"cpu_set_apic_base 0xfee00d00\ncpu_set_apic_base 0xfee00900\napic_register_read register 0x02 = 0x0\n"
    timeline, _ = timeline_of(data)
    assert timeline.accesses[2].mode is ApicMode.X2APIC


def test_with_several_vcpus_a_mode_that_differs_is_not_known() -> None:
    page = b"memory_region_ops_read cpu 3 mr 0x1 addr 0xfee00020 value 0x0 size 4 name 'apic-msi'\n"
    data = b"apic_register_read register 0x02 = 0x0\n" + page
    timeline, _ = timeline_of(data + b"cpu_set_apic_base 0xfee00c00\n" + data, vcpus=4)
    first, base, second = timeline.accesses
    assert (first.vcpu, first.mode) == (3, ApicMode.XAPIC)
    assert base.vcpu is None
    assert (second.vcpu, second.mode) == (3, None)


def test_a_narrow_access_is_not_claimed_and_an_msi_is_none() -> None:
    narrow = b"memory_region_ops_write cpu 0 mr 0x1 addr 0xfee000b0 value 0x0 size 1 name 'apic-msi'\n"
    msi = b"memory_region_ops_write cpu 0 mr 0x1 addr 0xfee00000 value 0x31 size 4 name 'apic-msi'\n"
    timeline, _ = timeline_of(narrow + msi + narrow)
    assert [(a.register.name, a.size, a.outcome) for a in timeline.accesses] == [("EOI", 1, Outcome.NOT_CLAIMED)] * 2


def test_the_timer_s_divide_register_marks_dxe_only_after_sec() -> None:
    timeline, _ = timeline_of(b"apic_mem_writel 0x3e0 = 0xb\n")
    assert timeline.reached is Phase.SEC


def test_an_ap_that_takes_over_the_timer_s_setting_is_no_dxe() -> None:
    """MpInitLib in PEI, SyncLocalApicTimerSetting."""
    pei = b"fw_cfg_select 0x55d8993e1b70 key 0x0000 'signature', ret: 1\n"
    write = b"memory_region_ops_write cpu %d mr 0x55 addr 0xfee003e0 value 0xb size 4 name 'apic-msi'\n"
    write += b"apic_mem_writel 0x3e0 = 0xb\n"
    assert timeline_of(pei + write % 1, vcpus=2)[0].reached is Phase.PEI
    assert timeline_of(pei + write % 1 + write % 0, vcpus=2)[0].reached is Phase.DXE


@given(st.lists(st.sampled_from(RECORDED_7_2.splitlines(keepends=True)), max_size=40), st.integers(1, 3))
def test_any_order_of_lines_gives_a_timeline(lines: list[bytes], vcpus: int) -> None:
    timeline, _ = timeline_of(b"".join(lines), vcpus)
    assert Timeline.from_jsonl(timeline.to_jsonl()) == timeline
    served = sum(b"apic_mem_" in line for line in lines)
    assert sum(access.outcome is Outcome.OK for access in registers(timeline)) == served
