# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snp_harness.firmware.pe import CodeImage, ExecutableHeader, ImageFormatError, parse_pe, parse_te
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


BASE, TEXT, RELOC = 0x10000, 0x1000, 0x2000
#: Code with an address of 8 bytes at TEXT + 4 and one of 4 bytes at TEXT + 14; bytes of it are anywhere else.
CODE = (
    b"\x48\xb8\x90\x91"
    + (BASE + 0x1234).to_bytes(8, "little")
    + b"\x92\x93"
    + (BASE + 0x40).to_bytes(4, "little")
    + b"\x94" * 14
)
RELOCS = struct.pack("<IIHHHH", TEXT, 16, 10 << 12 | 4, 3 << 12 | 14, 0, 0)


def loadable(relocs: bytes = RELOCS) -> bytes:
    """A PE32+ image with code and relocations."""
    data = bytearray(builder.pe32(BASE, 0x3000, TEXT))
    struct.pack_into("<H", data, 64 + 6, 2)
    struct.pack_into("<H", data, 64 + 20, 240)
    data += bytes(240 - 112)
    struct.pack_into("<II", data, 64 + 24 + 112 + 8 * 5, RELOC, len(relocs))
    raw = 0x400
    for address, body in ((TEXT, CODE), (RELOC, relocs)):
        data += struct.pack("<8sIIIIIIHHI", b".", len(body), address, len(body), raw, 0, 0, 0, 0, 0)
        raw += 0x100
    return bytes(data).ljust(0x400, b"\0") + CODE.ljust(0x100, b"\0") + relocs.ljust(0x100, b"\0")


@pytest.mark.parametrize("delta", [0, 0x4000, 0x1_2345_6000, -0x8000])
def test_the_bytes_of_an_image_where_it_is_loaded(delta: int) -> None:
    image, base = CodeImage(loadable()), BASE + delta
    expected = bytearray(CODE)
    expected[4:12] = (BASE + 0x1234 + delta).to_bytes(8, "little")
    expected[14:18] = (BASE + 0x40 + delta & 0xFFFF_FFFF).to_bytes(4, "little")
    # Pieces that begin or end inside an address, too.
    for start in range(len(CODE)):
        for size in (1, 5, len(CODE) - start):
            end = min(start + size, len(CODE))
            assert image.bytes_at(base, TEXT + start, end - start) == bytes(expected[start:end])


def test_what_is_not_code_of_the_image() -> None:
    image = CodeImage(loadable())
    for rva, size in ((0, 16), (TEXT - 1, 4), (TEXT, len(CODE) + 1), (RELOC + 0x800, 8)):
        assert image.bytes_at(BASE, rva, size) is None
    assert CodeImage(loadable()[:100]).bytes_at(BASE, TEXT, 4) is None
    assert CodeImage(b"").bytes_at(BASE, 0, 4) is None


def test_a_te_image_is_in_coordinates_of_the_pe_image() -> None:
    stripped = 0x200
    head = builder.te(BASE, TEXT, ((TEXT, len(CODE)),), stripped)
    body = head.ljust(TEXT - stripped + 40, b"\0") + CODE
    assert CodeImage(body).bytes_at(BASE, TEXT + 3, 9) == CODE[3:12]


@given(st.binary(max_size=64), st.integers(0, 0x400), st.integers(0, 0x3000), st.integers(0, 2**64 - 1))
def test_any_image_has_bytes_or_none(noise: bytes, at: int, rva: int, base: int) -> None:
    data = bytearray(loadable())
    data[at : at + len(noise)] = noise
    found = CodeImage(bytes(data)).bytes_at(base, rva, 24)
    assert found is None or len(found) == 24
