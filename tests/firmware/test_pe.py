# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snp_harness.firmware.pe import ExecutableHeader, ImageFormatError, parse_pe, parse_te
from tests.firmware import builder


@pytest.mark.parametrize("plus", [True, False])
def test_pe(plus: bool) -> None:
    header = parse_pe(builder.pe32(0xFFFCC094, 0xB1C0, 0x8300, plus=plus))
    assert header == ExecutableHeader(image_base=0xFFFCC094, size_of_image=0xB1C0, entry_rva=0x8300)


def test_te_in_coordinates_of_the_pe_image() -> None:
    header = parse_te(builder.te(0xFFFC0000, 0x1234, ((0x240, 0x3000), (0x3240, 0x500))))
    assert header == ExecutableHeader(image_base=0xFFFC0000, size_of_image=0x3740, entry_rva=0x1234)


@pytest.mark.parametrize("length", [0, 1, 63, 67, 100])
def test_pe_cut_off(length: int) -> None:
    with pytest.raises(ImageFormatError):
        parse_pe(builder.pe32(0, 0x1000, 0)[:length])


def test_te_cut_off() -> None:
    whole = builder.te(0, 0, ((0x240, 0x3000),))
    for length in range(len(whole) - 24):
        with pytest.raises(ImageFormatError):
            parse_te(whole[:length])


def test_unknown_optional_header() -> None:
    data = bytearray(builder.pe32(0, 0x1000, 0))
    data[64 + 24 : 64 + 26] = b"\x07\x01"
    with pytest.raises(ImageFormatError, match="0x107"):
        parse_pe(bytes(data))


@given(st.binary(max_size=300), st.integers(0, 2**32 - 1))
def test_any_bytes(tail: bytes, lfanew: int) -> None:
    """Damaged headers raise ImageFormatError only."""
    dos = b"MZ" + bytes(58) + lfanew.to_bytes(4, "little")
    with contextlib.suppress(ImageFormatError):
        parse_pe(dos + tail)
    with contextlib.suppress(ImageFormatError):
        parse_te(b"VZ" + tail)
