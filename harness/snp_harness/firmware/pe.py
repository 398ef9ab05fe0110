# SPDX-License-Identifier: GPL-2.0-or-later
"""The header fields of PE32 and TE images that determine where an image runs.

Formats: Microsoft PE/COFF specification; UEFI Platform Initialization 1.8, volume 1, section 15 (TE image).
Addresses of a TE image are those of the PE image it was made from: in both an object is at run address + RVA.
"""

from __future__ import annotations

import contextlib
import struct

from msgspec import Struct

Buffer = bytes | memoryview

_DOS_MAGIC = b"MZ"
_PE_MAGIC = b"PE\0\0"
_TE_MAGIC = b"VZ"
_PE32_MAGIC = 0x10B
_PE32PLUS_MAGIC = 0x20B
_DOS_LFANEW = 0x3C
_COFF_SIZE = 20
_TE_HEADER = struct.Struct("<2sHBBHIIQ16s")
_SECTION_HEADER_SIZE = 40


class ImageFormatError(ValueError):
    """Bytes that are not a PE32 or TE image."""


class ExecutableHeader(Struct, frozen=True):
    """image_base: address the image is linked or rebased to (0: none). size_of_image: bytes in memory.

    entry_rva: entry point relative to image_base.
    """

    image_base: int
    size_of_image: int
    entry_rva: int


def _unpack(layout: struct.Struct, data: Buffer, offset: int) -> tuple[int, ...]:
    if offset < 0 or offset + layout.size > len(data):
        raise ImageFormatError("header runs past the end")
    return layout.unpack_from(data, offset)


_U16 = struct.Struct("<H")
_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")


def parse_pe(data: Buffer) -> ExecutableHeader:
    """Parse a PE32 or PE32+ image; raises ImageFormatError."""
    if bytes(data[:2]) != _DOS_MAGIC:
        raise ImageFormatError("no DOS header")
    (pe,) = _unpack(_U32, data, _DOS_LFANEW)
    if bytes(data[pe : pe + 4]) != _PE_MAGIC:
        raise ImageFormatError("no PE signature")
    optional = pe + 4 + _COFF_SIZE
    (magic,) = _unpack(_U16, data, optional)
    (entry,) = _unpack(_U32, data, optional + 16)
    (size,) = _unpack(_U32, data, optional + 56)
    if magic == _PE32PLUS_MAGIC:
        (base,) = _unpack(_U64, data, optional + 24)
    elif magic == _PE32_MAGIC:
        (base,) = _unpack(_U32, data, optional + 28)
    else:
        raise ImageFormatError(f"unknown optional header {magic:#x}")
    return ExecutableHeader(image_base=base, size_of_image=size, entry_rva=entry)


def parse_te(data: Buffer) -> ExecutableHeader:
    """Parse a TE image; raises ImageFormatError.

    A TE header does not keep SizeOfImage: it is the end of the last section.
    """
    if len(data) < _TE_HEADER.size:
        raise ImageFormatError("header runs past the end")
    magic, _machine, sections, _subsystem, _stripped, entry, _code, base, _directories = _TE_HEADER.unpack_from(data)
    if magic != _TE_MAGIC:
        raise ImageFormatError("no TE signature")
    end = 0
    for number in range(sections):
        header = _TE_HEADER.size + number * _SECTION_HEADER_SIZE
        (virtual_size,) = _unpack(_U32, data, header + 8)
        (virtual_address,) = _unpack(_U32, data, header + 12)
        end = max(end, virtual_address + virtual_size)
    return ExecutableHeader(image_base=base, size_of_image=end, entry_rva=entry)


#: Types of base relocations: 32 and 64 bits (PE/COFF specification, "Base Relocation Types").
_RELOC_32, _RELOC_64 = 3, 10
_RELOC_BLOCK = struct.Struct("<II")
#: Bound on the relocations of an image; the largest of an OVMF has 9000.
_RELOCS_MAX = 1 << 18
#: Number of the base relocations' data directory in a PE image; a TE image has it first.
_DIRECTORY_RELOC = 5
#: The same of the debug directory, of whose entries one can name the file with debug information: "CodeView" ("Debug
#: Directory"), by the formats NB10 and RSDS, whose paths are at these offsets.
_DIRECTORY_DEBUG = 6
_DEBUG_ENTRY = struct.Struct("<12xIII4x")
_DEBUG_CODEVIEW = 2
_PATH_OFFSETS = {b"NB10": 16, b"RSDS": 24}
_DEBUG_ENTRIES_MAX = 16
_PATH_MAX = 1024
_SECTIONS_MAX = 96


class CodeImage:
    """The bytes that an image has in memory, at any base. data: of a PE32 or TE image; parsed at the first use."""

    def __init__(self, data: Buffer) -> None:
        self._data = data
        self._parsed = False
        self._image_base = 0
        self._sections: list[tuple[int, int, int]] = []
        self._relocs: dict[int, int] = {}
        self._debug = (0, 0)

    def bytes_at(self, base: int, rva: int, size: int) -> bytes | None:
        """Return the bytes of a section at `base` + `rva` in an image that is loaded at `base`.

        None if they are not all in one section's data, or the image cannot be parsed.
        """
        if not self._parsed:
            self._parse()
        for start, length, offset in self._sections:
            if start <= rva and rva + size <= start + length:
                return self._relocated(rva, size, offset - start, base - self._image_base)
        return None

    def debug_path(self) -> str | None:
        """Return the path of the file with debug information that the debug directory names, None without one.

        It is that of the machine where the image was built: only its name is of use elsewhere.
        """
        if not self._parsed:
            self._parse()
        address, size = self._debug
        for number in range(min(size // _DEBUG_ENTRY.size, _DEBUG_ENTRIES_MAX)):
            entry = self.bytes_at(self._image_base, address + number * _DEBUG_ENTRY.size, _DEBUG_ENTRY.size)
            if entry is None:
                return None
            kind, length, where = _DEBUG_ENTRY.unpack(entry)
            record = self.bytes_at(self._image_base, where, min(length, _PATH_MAX)) or b""
            offset = _PATH_OFFSETS.get(record[:4])
            if kind == _DEBUG_CODEVIEW and offset is not None:
                return record[offset:].partition(b"\0")[0].decode("utf-8", "replace") or None
        return None

    def _relocated(self, rva: int, size: int, shift: int, delta: int) -> bytes:
        """The bytes at `rva`, whose offset in the file is `shift` more, with the relocations that touch them."""
        first = max(0, rva - 7 + shift)
        raw = bytearray(self._data[first : rva + size + 8 + shift])
        if delta:
            for at in range(max(0, rva - 7), rva + size):
                width = self._relocs.get(at, 0)
                position = at + shift - first
                field = raw[position : position + width]
                if width and len(field) == width:
                    value = int.from_bytes(field, "little") + delta & (1 << 8 * width) - 1
                    raw[position : position + width] = value.to_bytes(width, "little")
        return bytes(raw[rva + shift - first : rva + shift - first + size])

    def _parse(self) -> None:
        self._parsed = True
        try:
            self._parse_image()
        except ImageFormatError:
            self._sections.clear()

    def _parse_image(self) -> None:
        data = self._data
        if bytes(data[:2]) == _TE_MAGIC:
            header = parse_te(data)
            count, stripped = data[4], int.from_bytes(data[6:8], "little")
            table = _TE_HEADER.size
            shift = table - stripped
            relocs, debug = table - 16, table - 8
        else:
            header = parse_pe(data)
            (at,) = _unpack(_U32, data, _DOS_LFANEW)
            optional = at + 4 + _COFF_SIZE
            (count,) = _unpack(_U16, data, at + 6)
            (optional_size,) = _unpack(_U16, data, at + 20)
            (magic,) = _unpack(_U16, data, optional)
            table, shift = optional + optional_size, 0
            directories = optional + (96 if magic == _PE32_MAGIC else 112)
            relocs, debug = (directories + 8 * number for number in (_DIRECTORY_RELOC, _DIRECTORY_DEBUG))
        self._image_base = header.image_base
        for number in range(min(count, _SECTIONS_MAX)):
            at = table + number * _SECTION_HEADER_SIZE
            (virtual_size,) = _unpack(_U32, data, at + 8)
            (address,) = _unpack(_U32, data, at + 12)
            (raw_size,) = _unpack(_U32, data, at + 16)
            (raw,) = _unpack(_U32, data, at + 20)
            offset = raw + shift
            length = min(virtual_size, raw_size, max(0, len(data) - offset))
            if offset >= 0 and length:
                self._sections.append((address, length, offset))
        with contextlib.suppress(ImageFormatError):
            address, size = _unpack(_RELOC_BLOCK, data, debug)
            self._debug = (address, size)
        # An image without them runs where it was linked.
        with contextlib.suppress(ImageFormatError):
            self._parse_relocs(*_unpack(_RELOC_BLOCK, data, relocs))

    def _parse_relocs(self, address: int, size: int) -> None:
        found = next((entry for entry in self._sections if entry[0] <= address < entry[0] + entry[1]), None)
        if found is None:
            return
        at = address - found[0] + found[2]
        end = min(at + size, found[1] + found[2])
        while at + _RELOC_BLOCK.size <= end and len(self._relocs) < _RELOCS_MAX:
            page, length = _unpack(_RELOC_BLOCK, self._data, at)
            if length < _RELOC_BLOCK.size:
                return
            for entry in range(at + _RELOC_BLOCK.size, min(at + length, end) - 1, 2):
                (word,) = _unpack(_U16, self._data, entry)
                width = {_RELOC_32: 4, _RELOC_64: 8}.get(word >> 12)
                if width:
                    self._relocs[page + (word & 0xFFF)] = width
            at += length
