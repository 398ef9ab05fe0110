# SPDX-License-Identifier: GPL-2.0-or-later
"""Lines of QEMU's trace, as versions 7.2 and 11.1 write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snp_harness.capture.qemu_trace import LINE_LIMIT, LineSplitter, TraceEvent, TraceKind, parse_line

#: As written by QEMU 7.2.22 and 11.1.3 with -msg timestamp=on.
LINES = {
    b"6612@1795419451.870953:apic_mem_readl 0xf0 = 0x000000ff": TraceEvent(
        TraceKind.APIC_READ, 0xF0, 0xFF, time_ns=1795419451870953000
    ),
    b"6612@1795419451.871138:apic_mem_writel 0x380 = 0xffffffff": TraceEvent(
        TraceKind.APIC_WRITE, 0x380, 0xFFFFFFFF, time_ns=1795419451871138000
    ),
    b"2026-11-23T07:37:43.959352Z apic_register_write register 0x32 = 0x20005": TraceEvent(
        TraceKind.APIC_WRITE, 0x320, 0x20005, time_ns=1795419463959352000
    ),
    b"apic_register_read register 0x0f = 0xff": TraceEvent(TraceKind.APIC_READ, 0xF0, 0xFF),
    b"cpu_get_apic_base 0x00000000fee00900": TraceEvent(TraceKind.BASE_READ, 0, 0xFEE00900),
    b"cpu_set_apic_base 0x00000000fee00d00": TraceEvent(TraceKind.BASE_WRITE, 0, 0xFEE00D00),
    b"fw_cfg_select 0x55d8993e1b70 key 0x0019 'file_dir', ret: 1": TraceEvent(TraceKind.FW_CFG, 0x19, 0),
    b"memory_region_ops_write cpu 0 mr 0x5653f3afc9e0 addr 0xfee000f0 value 0x1ff size 4 name 'apic-msi'": TraceEvent(
        TraceKind.PAGE_WRITE, 0xF0, 0x1FF, 0, 4
    ),
    b"memory_region_ops_write cpu -1 mr 0x5653f3afc9e0 addr 0xfee00000 value 0x0 size 4 name 'apic-msi'": TraceEvent(
        TraceKind.PAGE_WRITE, 0, 0, -1, 4
    ),
    b"memory_region_ops_read cpu 1 mr 0x55d8 addr 0xe00f8040 value 0x601 size 4 name 'pcie-mmcfg-mmio'": TraceEvent(
        TraceKind.MMCONFIG, 0xE00F8040, 0, 1, 4
    ),
}


@pytest.mark.parametrize(("line", "event"), LINES.items())
def test_lines(line: bytes, event: TraceEvent) -> None:
    assert parse_line(line) == event


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"memory_region_ops_read cpu 0 mr 0x5653f3d0d510 addr 0xcf8 value 0x0 size 4 name 'pci-conf-idx'",
        b"apic_local_deliver vector 0 delivery mode 0",
        b"apic_register_read 0x0f = 0xff",
        b"apic_mem_readl 0xf0 = 0xff trailing",
        b"cpu_get_apic_base 0x" + b"f" * 17,
        b"9999-99-99T99:99:99.999999Z apic_mem_readl",
        b"fw_cfg_select 0x0 key 0x0019 " + b"x" * LINE_LIMIT,
    ],
)
def test_lines_of_no_interest(line: bytes) -> None:
    assert parse_line(line) is None


def test_a_date_that_cannot_be_is_no_time() -> None:
    event = parse_line(b"2026-99-99T99:99:99.999999Z cpu_get_apic_base 0xfee00900")
    assert event is not None
    assert event.time_ns is None


@given(st.binary(max_size=200))
def test_any_line_is_survived(line: bytes) -> None:
    parse_line(line)


@given(st.sampled_from(sorted(LINES)), st.integers(0, 120), st.binary(max_size=3))
def test_any_damaged_line_is_survived(line: bytes, at: int, junk: bytes) -> None:
    event = parse_line(line[:at] + junk + line[at + len(junk) :])
    assert event is None or 0 <= event.value < 1 << 64


@given(st.lists(st.binary(max_size=40).filter(lambda part: b"\n" not in part)), st.lists(st.integers(1, 50)))
def test_lines_come_whole_however_they_are_cut(lines: list[bytes], cuts: list[int]) -> None:
    splitter = LineSplitter()
    data = b"".join(line + b"\n" for line in lines)
    found = []
    for cut in cuts:
        found += splitter.feed(data[:cut])
        data = data[cut:]
    found += splitter.feed(data)
    assert found == lines
    assert splitter.lines == len(lines)


def test_a_line_without_end_takes_no_memory() -> None:
    splitter = LineSplitter()
    for _ in range(1000):
        assert splitter.feed(b"x" * 1000) == []
    assert splitter.feed(b"x\nnext\n") == [b"next"]
    assert splitter.cut == 1
