# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads IGVM files of version 1 for tests of the writer, sharing nothing with snp_harness/svsm/igvm*.py."""

from __future__ import annotations

import binascii
import ctypes
from dataclasses import dataclass, field

from tests.svsm.igvm_writer import (
    FixedHeader,
    GuestPolicy,
    PageData,
    Parameter,
    ParameterArea,
    ParameterInsert,
    RequiredMemory,
    SupportedPlatform,
    VpContext,
)

SNP = 2
_FORMS: dict[int, type[ctypes.LittleEndianStructure]] = {
    0x001: SupportedPlatform,
    0x101: GuestPolicy,
    0x301: ParameterArea,
    0x302: PageData,
    0x303: ParameterInsert,
    0x304: VpContext,
    0x305: RequiredMemory,
    0x307: Parameter,
    0x30C: Parameter,
    0x313: Parameter,
}


@dataclass(frozen=True, slots=True)
class Contents:
    """A page, or a vCPU's state. kind: of a page's data."""

    gpa: int
    data: bytes
    kind: int = 0


@dataclass(slots=True)
class ReadFile:
    """What a file has for its only platform. inserts: areas by address. parameters: kinds with area and offset."""

    pages: list[Contents] = field(default_factory=list)
    contexts: list[Contents] = field(default_factory=list)
    areas: dict[int, int] = field(default_factory=dict)
    inserts: dict[int, int] = field(default_factory=dict)
    parameters: list[tuple[int, int, int]] = field(default_factory=list)
    required: list[tuple[int, int]] = field(default_factory=list)
    policy: int = 0


def read(data: bytes) -> ReadFile:
    """Read a file; every check is an assertion."""
    fixed = FixedHeader.from_buffer_copy(data)
    assert (fixed.magic, fixed.format_version, fixed.total_file_size) == (0x4D564749, 1, len(data))
    at, end = fixed.variable_header_offset, fixed.variable_header_offset + fixed.variable_header_size
    assert at == ctypes.sizeof(FixedHeader)
    plain = data[:20] + bytes(4)
    assert binascii.crc32(plain + data[at:end]) == fixed.checksum
    found = ReadFile()
    mask = 0
    while at < end:
        kind, length = int.from_bytes(data[at : at + 4], "little"), int.from_bytes(data[at + 4 : at + 8], "little")
        form = _FORMS[kind]
        assert length == ctypes.sizeof(form)
        header = form.from_buffer_copy(data, at + 8)
        at += 8 + (length + 7) // 8 * 8
        if isinstance(header, SupportedPlatform):
            assert (header.platform_type, header.platform_version, mask) == (SNP, 1, 0)
            mask = header.compatibility_mask
        elif hasattr(header, "compatibility_mask"):
            assert header.compatibility_mask == mask
        _take(found, kind, header, data, end)
    assert at == end
    return found


def _take(found: ReadFile, kind: int, header: ctypes.LittleEndianStructure, data: bytes, first: int) -> None:
    def contents(offset: int, size: int = 4096) -> bytes:
        assert not offset or first <= offset <= len(data) - size
        return data[offset : offset + size] if offset else bytes(size)

    match header:
        case GuestPolicy():
            found.policy = header.policy
        case PageData():
            assert header.flags in (0, 1)
            size = 0x200000 if header.flags else 4096
            assert header.gpa % size == 0
            whole = contents(header.file_offset, size)
            found.pages += [
                Contents(header.gpa + at, whole[at : at + 4096], header.data_type) for at in range(0, size, 4096)
            ]
        case VpContext():
            found.contexts.append(Contents(header.gpa, contents(header.file_offset)))
        case ParameterArea():
            found.areas[header.parameter_area_index] = header.number_of_bytes
        case Parameter():
            assert header.parameter_area_index in found.areas
            found.parameters.append((kind, header.parameter_area_index, header.byte_offset))
        case ParameterInsert():
            assert header.parameter_area_index in found.areas
            found.inserts[header.gpa] = header.parameter_area_index
        case RequiredMemory():
            found.required.append((header.gpa, header.number_of_bytes))
        case _:
            pass
