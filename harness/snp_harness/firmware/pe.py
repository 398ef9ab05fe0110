# SPDX-License-Identifier: GPL-2.0-or-later
"""The header fields of PE32 and TE images that determine where an image runs.

Formats: Microsoft PE/COFF specification; UEFI Platform Initialization 1.8, volume 1, section 15 (TE image).
Addresses of a TE image are those of the PE image it was made from: in both an object is at run address + RVA.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class ExecutableHeader:
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
