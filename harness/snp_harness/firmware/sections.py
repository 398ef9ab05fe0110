# SPDX-License-Identifier: GPL-2.0-or-later
"""Firmware volumes, files and sections, and the compressed sections in them.

Layout: UEFI Platform Initialization 1.8, volume 3, sections 2.1 (volumes), 2.2 (files), 2.3 (sections), 3.2 (their
headers). The bytes are untrusted: every length is checked against its container, and `Limits` bounds the total work.
"""

from __future__ import annotations

import lzma
import struct
from collections.abc import Iterator
from uuid import UUID

from msgspec import Struct

View = memoryview

VOLUME_SIGNATURE = b"_FVH"
_VOLUME_SIGNATURE_OFFSET = 40
_VOLUME = struct.Struct("<16s16sQ4sIHHHBB")
FFS2_GUID = UUID("8c8ce578-8a3d-4f1c-9935-896185c32dd3")
FFS3_GUID = UUID("5473c07a-3dcb-4dca-bd6f-1e9689e7349a")
NVDATA_GUID = UUID("fff12b8d-7696-4c8b-a985-2747075b4f50")

_FILE = struct.Struct("<16sBBBB3sB")
_FILE_LARGE = 0x01
FILE_PADDING = 0xF0

SECTION_COMPRESSION = 0x01
SECTION_GUIDED = 0x02
SECTION_DISPOSABLE = 0x03
SECTION_PE32 = 0x10
SECTION_TE = 0x12
SECTION_UI = 0x15
SECTION_VOLUME = 0x17
_GUIDED = struct.Struct("<16sHH")
_GUIDED_PROCESSING_REQUIRED = 0x01
#: Bytes that are decompressed at once.
_PIECE = 1 << 20
LZMA_GUID = UUID("ee4e5898-3914-4259-9d6e-dc7bd79403cf")


class LayoutError(ValueError):
    """A volume, file or section with invalid lengths or checksums."""


class Limits(Struct):
    """The remaining limits of one image: headers read, and bytes of decompressed data."""

    headers: int = 100_000
    #: Of all streams, those included that are refused in the end. edk2's volumes have 10 to 40 MiB.
    decompressed: int = 128 << 20
    #: Memory for one LZMA dictionary; edk2 uses 8 to 16 MiB.
    lzma_memory: int = 128 << 20

    def count_header(self) -> None:
        """Count one volume, file or section; raises LayoutError when there are more than in any firmware."""
        self.headers -= 1
        if self.headers < 0:
            raise LayoutError("too many volumes, files and sections")


class Volume(Struct, frozen=True):
    """A firmware volume: offset in its container, header and contents, and the GUID of its file system."""

    offset: int
    size: int
    file_system: UUID
    view: View
    files_offset: int

    @property
    def has_files(self) -> bool:
        """True for a volume of the Firmware File System, false for one of variables or of another vendor."""
        return self.file_system in (FFS2_GUID, FFS3_GUID)


class File(Struct, frozen=True):
    """A file of a volume: its name, type (EFI_FV_FILETYPE) and contents."""

    guid: UUID
    file_type: int
    body: View


class Section(Struct, frozen=True):
    """A section: type (EFI_SECTION_TYPE) and the contents after the common header."""

    section_type: int
    body: View


def find_volumes(data: View, limits: Limits) -> Iterator[Volume]:
    """Yield the volumes that follow one another in data; a volume's contents are not searched for others.

    Raises LayoutError if a volume runs past the end of data or its header's checksum is wrong.
    """
    raw = bytes(data)
    position = 0
    while (found := raw.find(VOLUME_SIGNATURE, position)) >= 0:
        limits.count_header()
        start = found - _VOLUME_SIGNATURE_OFFSET
        if start < 0 or start % 8 or start + _VOLUME.size > len(raw):
            position = found + 1
            continue
        volume = parse_volume(data, start)
        yield volume
        position = volume.offset + volume.size


def parse_volume(data: View, start: int) -> Volume:
    """The volume at offset start of data; raises LayoutError."""
    if start < 0 or start + _VOLUME.size > len(data):
        raise LayoutError(f"no volume header at {start:#x}")
    _zero, guid, size, signature, _attributes, header_size, _sum, extended, _reserved, revision = _VOLUME.unpack_from(
        data, start
    )
    if signature != VOLUME_SIGNATURE:
        raise LayoutError(f"no volume header at {start:#x}")
    if start + size > len(data):
        raise LayoutError(f"the volume at {start:#x} is {size:#x} bytes long, but only {len(data) - start:#x} follow")
    if header_size < _VOLUME.size or header_size % 2 or header_size > size or revision not in (1, 2):
        raise LayoutError(f"the volume header at {start:#x} is damaged")
    header = data[start : start + header_size]
    if sum(struct.unpack(f"<{header_size // 2}H", header)) & 0xFFFF:
        raise LayoutError(f"the checksum of the volume header at {start:#x} is wrong")
    return Volume(
        offset=start,
        size=size,
        file_system=UUID(bytes_le=guid),
        view=data[start : start + size],
        files_offset=_files_offset(data[start : start + size], header_size, extended),
    )


def _files_offset(volume: View, header_size: int, extended: int) -> int:
    """The files start after the header, or after the extended header if there is one, aligned to 8."""
    if not extended:
        return _align(header_size, 8)
    if extended < header_size or extended + 20 > len(volume):
        raise LayoutError("a volume's extended header lies outside the volume")
    return _align(extended + int.from_bytes(volume[extended + 16 : extended + 20], "little"), 8)


def files(volume: Volume, limits: Limits) -> Iterator[File]:
    """Yield the files of a volume without padding, to the free space. Raises LayoutError at a damaged header."""
    view = volume.view
    position = volume.files_offset
    while position + _FILE.size <= len(view):
        limits.count_header()
        guid, header_sum, data_sum, file_type, attributes, size24, state = _FILE.unpack_from(view, position)
        if file_type == 0xFF or not any(view[position : position + _FILE.size]):
            return
        header_size = _FILE.size
        size = int.from_bytes(size24, "little")
        if attributes & _FILE_LARGE:
            header_size += 8
            size = int.from_bytes(view[position + _FILE.size : position + header_size], "little")
        where = f"file at {position:#x} of the volume at {volume.offset:#x}"
        if size < header_size or position + size > len(view):
            raise LayoutError(f"the {where} is {size:#x} bytes long, more than the volume holds")
        # The header's sum excludes State and the checksum of the contents (volume 3, section 3.2.3).
        if sum(view[position : position + header_size]) - state - data_sum & 0xFF:
            raise LayoutError(f"the header checksum of the {where} is wrong ({header_sum:#x})")
        if file_type != FILE_PADDING:
            yield File(UUID(bytes_le=guid), file_type, view[position + header_size : position + size])
        position = _align(position + size, 8)


def sections(data: View, limits: Limits) -> Iterator[Section]:
    """Yield the sections that follow one another in data; raises LayoutError."""
    position = 0
    while position + 4 <= len(data):
        limits.count_header()
        size = int.from_bytes(data[position : position + 3], "little")
        kind = data[position + 3]
        header_size = 4
        if size == 0xFFFFFF:
            header_size = 8
            size = int.from_bytes(data[position + 4 : position + 8], "little")
        if size < header_size or position + size > len(data):
            raise LayoutError(f"a section of type {kind:#x} is {size:#x} bytes long, more than its file holds")
        yield Section(kind, data[position + header_size : position + size])
        position = _align(position + size, 4)


def open_guided(section: Section, limits: Limits) -> View:
    """Contents of a GUID-defined section, decompressed if they are LZMA; raises LayoutError."""
    body = section.body
    if len(body) < _GUIDED.size:
        raise LayoutError("a GUID-defined section is too short")
    guid_bytes, data_offset, attributes = _GUIDED.unpack_from(body)
    start = data_offset - 4  # DataOffset counts from the section's common header
    if start < _GUIDED.size or start > len(body):
        raise LayoutError("a GUID-defined section's data lie outside it")
    guid = UUID(bytes_le=guid_bytes)
    if guid == LZMA_GUID:
        return decompress(body[start:], limits)
    if attributes & _GUIDED_PROCESSING_REQUIRED:
        raise LayoutError(f"sections encoded as {guid} cannot be read")
    return body[start:]


def open_compression(section: Section) -> View:
    """Contents of a compression section if they are stored uncompressed; raises LayoutError."""
    if len(section.body) < 5:
        raise LayoutError("a compression section is too short")
    if section.body[4] != 0:
        raise LayoutError(f"sections of compression type {section.body[4]} cannot be read")
    return section.body[5:]


def decompress(data: View, limits: Limits) -> View:
    """Decompress an LZMA-alone stream within the limits; raises LayoutError."""
    decoder = lzma.LZMADecompressor(format=lzma.FORMAT_ALONE, memlimit=limits.lzma_memory)
    plain = bytearray()
    while not decoder.eof:
        if limits.decompressed <= 0:
            raise LayoutError("compressed data are larger than any firmware")
        try:
            piece = decoder.decompress(data, max_length=min(_PIECE, limits.decompressed + 1))
        except lzma.LZMAError as error:
            # What this piece had until then is not known.
            limits.decompressed -= _PIECE
            raise LayoutError(f"compressed data are damaged: {error}") from None
        limits.decompressed -= len(piece)
        if not piece and not decoder.eof:
            raise LayoutError("compressed data end too early")
        plain += piece
        data = data[:0]
    return memoryview(plain).toreadonly()


def _align(value: int, to: int) -> int:
    return (value + to - 1) & ~(to - 1)
