# SPDX-License-Identifier: GPL-2.0-or-later
"""SEV metadata of an OVMF image: the pages the launch must prepare.

A table of (data, length, GUID) entries ends 0x20 bytes before the image's end and is read backwards from its footer
(edk2 OvmfPkg/ResetVector/Ia16/ResetVectorVtf0.asm; QEMU hw/i386/pc_sysfw_ovmf.c). One entry holds the offset, from the
image's end, of the metadata itself (edk2 OvmfPkg/ResetVector/X64/OvmfSevMetadata.asm).
"""

from __future__ import annotations

import enum
import itertools
import struct
from uuid import UUID

from msgspec import Struct

from snp_harness.errors import FirmwareError

FOOTER_GUID = UUID("96b582de-1fb2-45f7-baea-a366c55a082d")
SEV_METADATA_GUID = UUID("dc886566-984a-4798-a75e-5585a7bf67cc")
SEV_ES_RESET_GUID = UUID("00f771de-1a7e-4fcb-890e-68c77e2fb44e")
SEV_HASH_TABLE_GUID = UUID("7255371f-3a3b-4b04-927b-1da6efa8d454")

#: The footer's GUID ends this many bytes before the image's end (edk2 pads the table to the VTF signature).
_TABLE_END = 0x20
_ENTRY = struct.Struct("<H16s")
_HEADER = struct.Struct("<4sIII")
_SECTION = struct.Struct("<III")
_MAGIC = b"ASEV"
_SUPPORTED_VERSION = 1
_PAGE = 0x1000
FOUR_GIB = 1 << 32
#: Firmware lies in the last 16 MiB below 4 GiB: below that are the I/O APIC and other devices (QEMU hw/i386/pc.c).
FIRMWARE_START = FOUR_GIB - (16 << 20)
_MAX_ENTRIES = 64
_MAX_SECTIONS = 64
#: A launch measures every page of these sections; firmware needs a few hundred KiB.
_MAX_SECTION_BYTES = 256 << 20


class SevSectionType(enum.IntEnum):
    """Section types (edk2 OvmfSevMetadata.asm; QEMU target/i386/sev.c)."""

    SEC_MEMORY = 1
    SECRETS = 2
    CPUID = 3
    SVSM_CAA = 4
    KERNEL_HASHES = 0x10


class SevSection(Struct, frozen=True):
    """Guest memory the launch prepares: gpa and size in bytes, both multiples of 4 KiB, below 4 GiB."""

    gpa: int
    size: int
    type: SevSectionType

    @property
    def end(self) -> int:
        """First guest physical address behind the section."""
        return self.gpa + self.size


class SevMetadata(Struct, frozen=True):
    """The sections in the image's order, without empty ones.

    ap_reset: address at which APs of SEV-ES firmware start, None if not given. hash_table: address and size of the
    memory for the hashes of a kernel, (0, 0) if there is none.
    """

    version: int
    sections: tuple[SevSection, ...]
    ap_reset: int | None = None
    hash_table: tuple[int, int] = (0, 0)

    def of_type(self, kind: SevSectionType) -> tuple[SevSection, ...]:
        """All sections of one type."""
        return tuple(section for section in self.sections if section.type is kind)

    def gpa_of(self, kind: SevSectionType) -> int:
        """Address of the first section of one type, 0 without one."""
        return next((section.gpa for section in self.of_type(kind)), 0)

    @property
    def has_svsm_caa(self) -> bool:
        """True if the firmware has a calling area for an SVSM: it can run under one."""
        return bool(self.of_type(SevSectionType.SVSM_CAA))


def flash_base(image: bytes) -> int:
    """Guest physical address of the image's first byte: a flat image ends at 4 GiB, behind the reset vector."""
    return FOUR_GIB - len(image)


def guided_table(image: bytes) -> dict[UUID, bytes]:
    """Entries of the GUIDed table at the image's end; empty if there is none.

    Raises FirmwareError if its lengths are invalid.
    """
    position = len(image) - _TABLE_END - _ENTRY.size
    if position < 0:
        return {}
    total, footer = _ENTRY.unpack_from(image, position)
    if UUID(bytes_le=footer) != FOOTER_GUID:
        return {}
    start = position + _ENTRY.size - total
    if total < _ENTRY.size or start < 0:
        raise FirmwareError(f"the GUIDed table at the image's end is damaged: length {total:#x}", _DAMAGED_HINT)
    entries: dict[UUID, bytes] = {}
    while position - _ENTRY.size >= start:
        length, guid = _ENTRY.unpack_from(image, position - _ENTRY.size)
        if length < _ENTRY.size or position - length < start or len(entries) >= _MAX_ENTRIES:
            raise FirmwareError(
                f"the GUIDed table at the image's end is damaged: an entry of {length:#x} bytes", _DAMAGED_HINT
            )
        entries.setdefault(UUID(bytes_le=guid), image[position - length : position - _ENTRY.size])
        position -= length
    return entries


_DAMAGED_HINT = "use an undamaged image"


def parse_metadata(image: bytes) -> SevMetadata | None:
    """SEV metadata of a flat image; None if it has none, or only empty sections.

    Raises FirmwareError if they are invalid.
    """
    table = guided_table(image)
    pointer = table.get(SEV_METADATA_GUID)
    if pointer is None:
        return None
    if len(pointer) != 4:
        raise FirmwareError(f"the SEV metadata pointer is {len(pointer)} bytes long, not 4", _DAMAGED_HINT)
    from_end = int.from_bytes(pointer, "little")
    offset = len(image) - from_end
    if from_end < _HEADER.size or offset < 0:
        raise FirmwareError(f"the SEV metadata pointer {from_end:#x} is outside the image", _DAMAGED_HINT)
    magic, length, version, count = _HEADER.unpack_from(image, offset)
    if magic != _MAGIC:
        raise FirmwareError(f"no SEV metadata at the offset that the image names ({offset:#x})", _DAMAGED_HINT)
    if version != _SUPPORTED_VERSION:
        raise FirmwareError(f"SEV metadata version {version} is not known", f"version {_SUPPORTED_VERSION} is")
    if count > _MAX_SECTIONS or length < _HEADER.size + count * _SECTION.size or length > from_end:
        raise FirmwareError(f"SEV metadata of {length:#x} bytes cannot hold {count} sections", _DAMAGED_HINT)
    described = (_SECTION.unpack_from(image, offset + _HEADER.size + index * _SECTION.size) for index in range(count))
    # A section of 0 bytes is absent: edk2's TDX images describe all of SEV's so.
    sections = tuple(_section(gpa, size, kind, flash_base=flash_base(image)) for gpa, size, kind in described if size)
    if not sections:
        return None
    _refuse_overlap(sections)
    reset = table.get(SEV_ES_RESET_GUID)
    return SevMetadata(
        version=version,
        sections=sections,
        ap_reset=int.from_bytes(reset, "little") if reset is not None and len(reset) == 4 else None,
        hash_table=_hash_table(table.get(SEV_HASH_TABLE_GUID, b"")),
    )


def _hash_table(entry: bytes) -> tuple[int, int]:
    """The place of the hashes' table; (0, 0) if there is none."""
    if len(entry) != 8:
        return 0, 0
    return int.from_bytes(entry[:4], "little"), int.from_bytes(entry[4:], "little")


def _section(gpa: int, size: int, kind: int, *, flash_base: int) -> SevSection:
    where = f"SEV metadata section at {gpa:#x}, {size:#x} bytes"
    try:
        section_type = SevSectionType(kind)
    except ValueError:
        raise FirmwareError(
            f"{where}: type {kind:#x} is not known", "the launch cannot be prepared; use another image"
        ) from None
    if gpa % _PAGE or size % _PAGE:
        raise FirmwareError(f"{where}: not a multiple of 4 KiB", _DAMAGED_HINT)
    if size > _MAX_SECTION_BYTES or gpa + size > flash_base:
        raise FirmwareError(f"{where}: outside guest memory", _DAMAGED_HINT)
    return SevSection(gpa=gpa, size=size, type=section_type)


def _refuse_overlap(sections: tuple[SevSection, ...]) -> None:
    ordered = sorted(sections, key=lambda section: section.gpa)
    for before, after in itertools.pairwise(ordered):
        if after.gpa < before.end:
            raise FirmwareError(f"SEV metadata sections at {before.gpa:#x} and {after.gpa:#x} overlap", _DAMAGED_HINT)
