# SPDX-License-Identifier: GPL-2.0-or-later
"""Builds small firmware images, byte by byte, for tests of cases that real images do not have."""

from __future__ import annotations

import lzma
import struct
from uuid import UUID

from snp_harness.firmware import sections as ffs
from snp_harness.firmware.firmware_modules import FileType
from snp_harness.firmware.metadata import FOOTER_GUID, SEV_ES_RESET_GUID, SEV_METADATA_GUID

SIZE = 256 << 10
BASE = (1 << 32) - SIZE
NVDATA_SIZE = 64 << 10
RESET_VECTOR = bytes.fromhex("9090e9fbff000000") + bytes(8)

SEC_GUID = UUID("df1ccef6-f301-4a63-9661-fc6030dcc880")
PEI_GUID = UUID("52c05b14-0b98-496c-bc3b-04b50211d680")
DXE_GUID = UUID("d6a2cb7f-6a18-4e2f-b43b-9920a733700a")
FILE_GUID = UUID("9e21fd93-9c72-4c15-8c4b-e77f1db2d792")

#: type 1 SEC memory, 2 secrets, 3 CPUID, 4 SVSM CAA: (gpa, size, type)
SECTIONS = ((0x800000, 0x9000, 1), (0x80D000, 0x1000, 2), (0x80E000, 0x1000, 3), (0x80F000, 0x1000, 4))


def pe32(base: int, size_of_image: int, entry_rva: int, *, plus: bool = True) -> bytes:
    """The headers of a PE image, and one byte of each of its pages' worth of nothing."""
    optional = bytearray(112)
    struct.pack_into("<H", optional, 0, 0x20B if plus else 0x10B)
    struct.pack_into("<I", optional, 16, entry_rva)
    if plus:
        struct.pack_into("<Q", optional, 24, base)
    else:
        struct.pack_into("<I", optional, 28, base)
    struct.pack_into("<I", optional, 56, size_of_image)
    dos = bytearray(64)
    dos[:2] = b"MZ"
    struct.pack_into("<I", dos, 0x3C, len(dos))
    coff = struct.pack("<HHIIIHH", 0x8664, 0, 0, 0, 0, len(optional), 0)
    return bytes(dos) + b"PE\0\0" + coff + bytes(optional)


def te(base: int, entry_rva: int, sections: tuple[tuple[int, int], ...], stripped: int = 0x200) -> bytes:
    """A TE header with sections of (address, size), both in the coordinates of the PE image it was made from."""
    header = struct.pack("<2sHBBHIIQ16s", b"VZ", 0x8664, len(sections), 10, stripped, entry_rva, 0, base, bytes(16))
    for address, size in sections:
        header += struct.pack("<8sIIIIIIHHI", b".text", size, address, size, address, 0, 0, 0, 0, 0)
    return header


def section(kind: int, body: bytes) -> bytes:
    """A section, padded to 4 bytes as the next one needs it."""
    size = len(body) + 4
    if size >= 0xFFFFFF:
        size += 4
        data = b"\xff\xff\xff" + bytes([kind]) + size.to_bytes(4, "little") + body
    else:
        data = size.to_bytes(3, "little") + bytes([kind]) + body
    return data + bytes(-len(data) % 4)


def ui(name: str) -> bytes:
    """A user interface section."""
    return section(ffs.SECTION_UI, name.encode("utf-16-le") + b"\0\0")


def guided(guid: UUID, body: bytes, attributes: int = 1) -> bytes:
    """A GUID-defined section."""
    return section(ffs.SECTION_GUIDED, guid.bytes_le + struct.pack("<HH", 24, attributes) + body)


def compressed(body: bytes) -> bytes:
    """A GUID-defined section of LZMA data."""
    return guided(ffs.LZMA_GUID, lzma.compress(body, format=lzma.FORMAT_ALONE))


def file(guid: UUID, kind: int, body: bytes) -> bytes:
    """A file, padded to 8 bytes."""
    large = len(body) + 24 > 0xFFFFFF
    size = len(body) + (32 if large else 24)
    header = bytearray(32 if large else 24)
    header[:16] = guid.bytes_le
    header[18] = kind
    header[19] = 1 if large else 0
    if large:
        header[24:32] = size.to_bytes(8, "little")
    else:
        header[20:23] = size.to_bytes(3, "little")
    header[16] = -sum(header) & 0xFF
    header[17] = 0xAA
    header[23] = 0xF8
    data = bytes(header) + body
    return data + b"\xff" * (-len(data) % 8)


def volume(body: bytes, size: int, guid: UUID = ffs.FFS2_GUID) -> bytes:
    """A volume of `size` bytes, free behind body."""
    header = bytearray(72)
    struct.pack_into("<16s16sQ4sIHHHBB", header, 0, bytes(16), guid.bytes_le, size, b"_FVH", 0, 72, 0, 0, 0, 2)
    struct.pack_into("<IIII", header, 56, size // 4096, 4096, 0, 0)
    struct.pack_into("<H", header, 50, -sum(struct.unpack("<36H", header)) & 0xFFFF)
    assert len(header) + len(body) <= size
    return bytes(header) + body + b"\xff" * (size - len(header) - len(body))


def sec_file() -> bytes:
    """SecMain at the start of the last quarter of the image."""
    return file(
        SEC_GUID,
        FileType.SECURITY_CORE,
        section(ffs.SECTION_PE32, pe32(BASE + 0x30000, 0x4000, 0x1000)) + ui("SecMain"),
    )


def packed_file() -> bytes:
    """PeiCore and a DXE driver, in volumes in an LZMA section."""
    pei = file(PEI_GUID, FileType.PEI_CORE, section(ffs.SECTION_PE32, pe32(0x820000, 0x2000, 0x600)) + ui("PeiCore"))
    dxe = file(DXE_GUID, FileType.DRIVER, section(ffs.SECTION_PE32, pe32(0, 0x3000, 0x700)) + ui("Driver"))
    volumes = b"".join(section(ffs.SECTION_VOLUME, volume(body, 0x1000)) for body in (pei, dxe))
    return file(FILE_GUID, 0x0B, compressed(volumes))


def table(entries: dict[UUID, bytes], total: int | None = None) -> bytes:
    """The GUIDed table, its footer last."""
    body = b"".join(data + struct.pack("<H16s", len(data) + 18, guid.bytes_le) for guid, data in entries.items())
    return body + struct.pack("<H16s", len(body) + 18 if total is None else total, FOOTER_GUID.bytes_le)


def sev_metadata(sections: tuple[tuple[int, int, int], ...], version: int = 1, count: int | None = None) -> bytes:
    """The metadata that the table's entry points to."""
    body = b"".join(struct.pack("<III", *values) for values in sections)
    count = len(sections) if count is None else count
    return struct.pack("<4sIII", b"ASEV", 16 + len(body), version, count) + body


def image(
    sections: tuple[tuple[int, int, int], ...] | None = SECTIONS,
    *,
    metadata: bytes | None = None,
    files: bytes | None = None,
    variables: bool = True,
) -> bytes:
    """A complete image of SIZE bytes: variables, compressed PEI and DXE, SEC, the GUIDed table and the reset vector.

    metadata: instead of that of `sections`. files: instead of the compressed file. Without variables it is a CODE half.
    """
    data = bytearray()
    if variables:
        data += volume(b"", NVDATA_SIZE, ffs.NVDATA_GUID)
    data += volume(packed_file() if files is None else files, 0x20000)
    data += volume(sec_file(), 0x10000)
    end = len(data)
    data[-16:] = RESET_VECTOR
    if metadata is None and sections is not None:
        metadata = sev_metadata(sections)
    if metadata is not None:
        data[-0x800 : -0x800 + len(metadata)] = metadata
        entries = {SEV_METADATA_GUID: struct.pack("<I", 0x800), SEV_ES_RESET_GUID: struct.pack("<I", 0x80B004)}
        place_table(data, table(entries))
    assert len(data) == end
    return bytes(data)


def place_table(data: bytearray, content: bytes) -> None:
    """Put a GUIDed table at its offset in an image."""
    data[-0x20 - len(content) : -0x20] = content
