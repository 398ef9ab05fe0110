# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import lzma
import struct
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snp_harness.firmware import sections as ffs
from tests.firmware import builder

OTHER_GUID = UUID("a31280ad-481e-41b6-95e8-127f4c984779")


def first_section(data: bytes) -> ffs.Section:
    return next(ffs.sections(memoryview(data), ffs.Limits()))


def only_volume(data: bytes) -> ffs.Volume:
    (volume,) = ffs.find_volumes(memoryview(data), ffs.Limits())
    return volume


def test_volumes_one_behind_the_other() -> None:
    data = bytes(0x1000) + builder.volume(b"", 0x1000, ffs.NVDATA_GUID) + builder.volume(b"", 0x2000)
    volumes = list(ffs.find_volumes(memoryview(data), ffs.Limits()))
    assert [(v.offset, v.size, v.has_files) for v in volumes] == [(0x1000, 0x1000, False), (0x2000, 0x2000, True)]


def test_a_volume_in_a_volume_is_not_found_at_the_top() -> None:
    inner = builder.volume(b"", 0x1000)
    assert only_volume(builder.volume(inner, 0x2000)).size == 0x2000


def test_volume_past_the_end_is_refused() -> None:
    with pytest.raises(ffs.LayoutError, match="0x2000 bytes long, but only 0x1000"):
        only_volume(builder.volume(b"", 0x2000)[:0x1000])


def test_volume_checksum_is_checked() -> None:
    data = bytearray(builder.volume(b"", 0x1000))
    data[44] ^= 1
    with pytest.raises(ffs.LayoutError, match="checksum"):
        only_volume(bytes(data))


def test_files_behind_the_extended_header() -> None:
    extended = bytes(16) + (20 + 5).to_bytes(4, "little") + b"extra"
    extended += bytes(-(72 + len(extended)) % 8)
    data = bytearray(builder.volume(extended + builder.file(builder.DXE_GUID, 7, b"body"), 0x1000))
    struct.pack_into("<H", data, 52, 72)
    struct.pack_into("<H", data, 50, 0)
    struct.pack_into("<H", data, 50, -sum(struct.unpack("<36H", data[:72])) & 0xFFFF)
    (file,) = ffs.files(only_volume(bytes(data)), ffs.Limits())
    assert (file.guid, file.file_type, bytes(file.body)) == (builder.DXE_GUID, 7, b"body")


def test_padding_files_are_left_out() -> None:
    data = builder.file(OTHER_GUID, ffs.FILE_PADDING, b"x" * 40) + builder.file(builder.DXE_GUID, 7, b"")
    assert [f.guid for f in ffs.files(only_volume(builder.volume(data, 0x1000)), ffs.Limits())] == [builder.DXE_GUID]


def test_file_header_checksum_is_checked() -> None:
    data = bytearray(builder.file(builder.DXE_GUID, 7, b"body"))
    data[0] ^= 1
    with pytest.raises(ffs.LayoutError, match="checksum of the file at 0x48"):
        list(ffs.files(only_volume(builder.volume(bytes(data), 0x1000)), ffs.Limits()))


def test_large_file_and_large_section() -> None:
    body = bytes(0x1000001)
    data = builder.file(builder.DXE_GUID, 7, builder.section(ffs.SECTION_UI, body))
    (file,) = ffs.files(only_volume(builder.volume(data, 0x1002000)), ffs.Limits())
    (section,) = ffs.sections(file.body, ffs.Limits())
    assert section.section_type == ffs.SECTION_UI
    assert len(section.body) == len(body)


def test_section_longer_than_its_file_is_refused() -> None:
    with pytest.raises(ffs.LayoutError, match="more than its file holds"):
        first_section(builder.section(ffs.SECTION_UI, bytes(100))[:50])


def test_section_of_size_zero_does_not_hang() -> None:
    with pytest.raises(ffs.LayoutError):
        list(ffs.sections(memoryview(bytes(4096)), ffs.Limits()))


def test_work_is_bounded() -> None:
    with pytest.raises(ffs.LayoutError, match="too many"):
        list(ffs.sections(memoryview(builder.section(ffs.SECTION_UI, b"") * 1000), ffs.Limits(headers=999)))


def test_lzma_section() -> None:
    plain = ffs.open_guided(first_section(builder.compressed(b"contents" * 1000)), ffs.Limits())
    assert bytes(plain) == b"contents" * 1000


def test_decompressed_bytes_are_bounded() -> None:
    """A few KiB that decompress to 16 MiB."""
    bomb = first_section(builder.compressed(bytes(16 << 20)))
    assert len(bomb.body) < 8 << 10
    with pytest.raises(ffs.LayoutError, match="larger than any firmware"):
        ffs.open_guided(bomb, ffs.Limits(decompressed=1 << 20))


def test_the_bound_holds_for_all_sections_together() -> None:
    limits = ffs.Limits(decompressed=3 << 20)
    section = first_section(builder.compressed(bytes(2 << 20)))
    ffs.open_guided(section, limits)
    with pytest.raises(ffs.LayoutError):
        ffs.open_guided(section, limits)


def test_streams_that_are_refused_count_too() -> None:
    """Else an image of many of them takes minutes: each is decompressed up to the bound."""
    limits = ffs.Limits(decompressed=4 << 20)
    bomb = lzma.compress(bytes(64 << 20), format=lzma.FORMAT_ALONE)
    with pytest.raises(ffs.LayoutError, match="larger than any firmware"):
        ffs.decompress(memoryview(bomb), limits)
    assert limits.decompressed <= 0
    # Not even begun.
    with pytest.raises(ffs.LayoutError, match="larger than any firmware"):
        ffs.decompress(memoryview(b"damaged"), limits)
    limits = ffs.Limits(decompressed=4 << 20)
    for _ in range(4):
        with pytest.raises(ffs.LayoutError, match="damaged"):
            ffs.decompress(memoryview(b"\xff" * 100), limits)
    assert limits.decompressed <= 0


def test_dictionary_memory_is_bounded() -> None:
    """The stream's header may ask for a dictionary of 4 GiB."""
    stream = bytearray(lzma.compress(b"x", format=lzma.FORMAT_ALONE))
    stream[1:5] = b"\xff\xff\xff\xff"
    with pytest.raises(ffs.LayoutError, match="damaged"):
        ffs.decompress(memoryview(bytes(stream)), ffs.Limits())


def test_compressed_data_cut_off() -> None:
    stream = lzma.compress(bytes(range(256)) * 64, format=lzma.FORMAT_ALONE)
    with pytest.raises(ffs.LayoutError, match="too early"):
        ffs.decompress(memoryview(stream[: len(stream) // 2]), ffs.Limits())


def test_encodings_of_guided_sections() -> None:
    plain = first_section(builder.guided(OTHER_GUID, b"as it is", attributes=0))
    assert bytes(ffs.open_guided(plain, ffs.Limits())[:8]) == b"as it is"
    encoded = first_section(builder.guided(OTHER_GUID, b"unknown", attributes=1))
    with pytest.raises(ffs.LayoutError, match=str(OTHER_GUID)):
        ffs.open_guided(encoded, ffs.Limits())


def test_compression_sections() -> None:
    stored = first_section(builder.section(ffs.SECTION_COMPRESSION, bytes(5) + b"body"))
    assert bytes(ffs.open_compression(stored)[:4]) == b"body"
    packed = first_section(builder.section(ffs.SECTION_COMPRESSION, bytes(4) + b"\1body"))
    with pytest.raises(ffs.LayoutError, match="compression type 1"):
        ffs.open_compression(packed)


@given(st.binary(max_size=512))
def test_any_bytes_as_sections(data: bytes) -> None:
    """Sections never end after their container, for any bytes."""
    total = 0
    try:
        for section in ffs.sections(memoryview(data), ffs.Limits()):
            total += len(section.body)
    except ffs.LayoutError:
        pass
    assert total <= len(data)
