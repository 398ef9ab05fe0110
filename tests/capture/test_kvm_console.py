# SPDX-License-Identifier: GPL-2.0-or-later
"""The firmware's output by port I/O: lines, the phases they show, and arbitrary bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snp_harness.apic.access import Phase
from snp_harness.capture.kvm_console import LINE_LIMIT, PortConsole, phase_of


@pytest.mark.parametrize(
    ("line", "phase"),
    [
        (b"SecCoreStartupWithStack(0xFFFCC000, 0x820000)", Phase.SEC),
        (b"Loading PEIM at 0x00000830CC0 EntryPoint=0x00000834C8D PcdPeim.efi", Phase.PEI),
        (b"Loading DXE CORE at 0x0001FEF2000 EntryPoint=0x0001FF0B4B0", Phase.DXE),
        (b'BdsDxe: loading Boot0001 "EFI Internal Shell"', Phase.BDS),
        (b"Loading", None),
        (b"", None),
    ],
)
def test_lines(line: bytes, phase: Phase | None) -> None:
    assert phase_of(line) is phase
    console = PortConsole()
    shown = [console.write(byte, 1) for byte in line + b"\r\n"]
    assert shown[:-2] == [None] * len(line)
    assert [told[0] for told in shown if told is not None] == ([] if phase is None else [phase])


def test_bytes_of_one_write() -> None:
    console = PortConsole()
    assert console.write(int.from_bytes(b"BdsD", "little"), 4) is None
    assert console.write(int.from_bytes(b"xe: ", "little"), 4) is None
    assert console.write(0x0A, 1) == (Phase.BDS, "BdsDxe:")


def test_a_long_line_is_cut() -> None:
    console = PortConsole()
    for byte in b"BdsDxe: " + b"x" * 10 * LINE_LIMIT:
        console.write(byte, 1)
    shown = console.write(0x0D, 1)
    assert shown is not None
    assert len(shown[1]) == LINE_LIMIT


@given(st.lists(st.tuples(st.integers(0, 2**32 - 1), st.integers(-1, 99)), max_size=200))
def test_any_writes(writes: list[tuple[int, int]]) -> None:
    console = PortConsole()
    for value, size in writes:
        shown = console.write(value, size)
        assert shown is None or len(shown[1]) <= LINE_LIMIT
