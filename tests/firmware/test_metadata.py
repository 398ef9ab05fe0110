# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snp_harness.errors import FirmwareError
from snp_harness.firmware.metadata import (
    SEV_METADATA_GUID,
    SevSection,
    SevSectionType,
    guided_table,
    parse_metadata,
)
from tests.firmware import builder


def image_of(*sections: tuple[int, int, int]) -> bytes:
    return builder.image(sections)


def test_sections_in_the_images_order() -> None:
    metadata = parse_metadata(builder.image())
    assert metadata is not None
    assert metadata.sections == (
        SevSection(0x800000, 0x9000, SevSectionType.SEC_MEMORY),
        SevSection(0x80D000, 0x1000, SevSectionType.SECRETS),
        SevSection(0x80E000, 0x1000, SevSectionType.CPUID),
        SevSection(0x80F000, 0x1000, SevSectionType.SVSM_CAA),
    )
    assert metadata.version == 1
    assert metadata.ap_reset == 0x80B004
    assert metadata.hash_table == (0, 0)
    assert metadata.of_type(SevSectionType.CPUID)[0].end == 0x80F000
    assert metadata.has_svsm_caa


def test_without_svsm_caa() -> None:
    metadata = parse_metadata(image_of(*builder.SECTIONS[:3]))
    assert metadata is not None
    assert not metadata.has_svsm_caa


def test_image_without_metadata() -> None:
    assert guided_table(builder.image(None)) == {}
    assert parse_metadata(builder.image(None)) is None


def test_empty_sections_are_absent() -> None:
    """edk2's images for TDX describe the areas of SEV that they do not have with 0 bytes, wherever they are."""
    empty = (0x800000, 0, 4), (0, 0, 0x10), (0xFFFFF800, 0, 99)
    metadata = parse_metadata(image_of(*builder.SECTIONS[:3], *empty))
    assert metadata is not None
    assert [section.type for section in metadata.sections] == [1, 2, 3]
    assert not metadata.has_svsm_caa
    assert parse_metadata(image_of(*empty)) is None


@pytest.mark.parametrize(
    ("section", "problem"),
    [
        ((0x800800, 0x1000, 1), "not a multiple of 4 KiB"),
        ((0x800000, 0x800, 1), "not a multiple of 4 KiB"),
        ((0xFFFFF000, 0x1000, 1), "outside guest memory"),
        ((0xF0000000, 0xFFFFF000, 1), "outside guest memory"),
        ((0x1000, 0x20000000, 1), "outside guest memory"),
        ((0x800000, 0x1000, 0), "type 0x0 is not known"),
        ((0x800000, 0x1000, 0x11), "type 0x11 is not known"),
    ],
)
def test_absurd_section(section: tuple[int, int, int], problem: str) -> None:
    with pytest.raises(FirmwareError, match=problem):
        parse_metadata(image_of(section))


def test_section_in_flash() -> None:
    with pytest.raises(FirmwareError, match="outside guest memory"):
        parse_metadata(image_of((builder.BASE - 0x1000, 0x2000, 1)))
    assert parse_metadata(image_of((builder.BASE - 0x1000, 0x1000, 1))) is not None


def test_overlapping_sections() -> None:
    with pytest.raises(FirmwareError, match="0x800000 and 0x801000 overlap"):
        parse_metadata(image_of((0x801000, 0x1000, 2), (0x800000, 0x2000, 1)))


@pytest.mark.parametrize(
    ("metadata", "problem"),
    [
        (b"XXXX" + bytes(12), "no SEV metadata at the offset"),
        (builder.sev_metadata(builder.SECTIONS, version=2), "version 2 is not known"),
        (builder.sev_metadata(builder.SECTIONS, count=5), "cannot hold 5 sections"),
        (builder.sev_metadata(builder.SECTIONS, count=0xFFFFFFFF), "cannot hold"),
    ],
)
def test_damaged_metadata(metadata: bytes, problem: str) -> None:
    with pytest.raises(FirmwareError, match=problem):
        parse_metadata(builder.image(metadata=metadata))


@pytest.mark.parametrize("pointer", [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x08\0\0\0", b"\0\x08\0"])
def test_pointer_outside_the_image(pointer: bytes) -> None:
    data = bytearray(builder.image(None))
    builder.place_table(data, builder.table({SEV_METADATA_GUID: pointer}))
    with pytest.raises(FirmwareError, match="pointer"):
        parse_metadata(bytes(data))


@pytest.mark.parametrize("total", [0, 17, 0xFFFF])
def test_table_of_a_length_that_cannot_be(total: int) -> None:
    small = bytearray(0x1000)
    builder.place_table(small, builder.table({}, total=total))
    with pytest.raises(FirmwareError, match="GUIDed table"):
        guided_table(bytes(small))


def test_entry_longer_than_the_table() -> None:
    data = bytearray(builder.image(None))
    content = bytearray(builder.table({SEV_METADATA_GUID: bytes(4)}))
    content[4:6] = b"\xff\x0f"
    builder.place_table(data, bytes(content))
    with pytest.raises(FirmwareError, match="an entry of 0xfff bytes"):
        guided_table(bytes(data))


@given(st.binary(min_size=200, max_size=200), st.integers(0, 0xFFFF))
def test_any_bytes_as_table_and_metadata(content: bytes, total: int) -> None:
    """Damage gives FirmwareError or valid sections."""
    data = bytearray(builder.image())
    data[-0x800 + 4 : -0x800 + 4 + 60] = content[:60]
    data[-0x20 - 18 - len(content) : -0x20 - 18] = content
    data[-0x20 - 18 : -0x20 - 16] = total.to_bytes(2, "little")
    with contextlib.suppress(FirmwareError):
        parse_metadata(bytes(data))


@given(st.lists(st.tuples(st.integers(0, 2**20 - 1), st.integers(0, 2**10), st.integers(0, 5)), max_size=6))
def test_sections_that_are_taken_are_disjoint_memory(pages: list[tuple[int, int, int]]) -> None:
    try:
        metadata = parse_metadata(image_of(*((page << 12, count << 12, kind) for page, count, kind in pages)))
    except FirmwareError:
        return
    if metadata is None:
        assert not any(count for _page, count, _kind in pages)
        return
    frames = [frame for s in metadata.sections for frame in range(s.gpa >> 12, s.end >> 12)]
    assert len(frames) == len(set(frames))
    assert all(section.end <= builder.BASE for section in metadata.sections)
