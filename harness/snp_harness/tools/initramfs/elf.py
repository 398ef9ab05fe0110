# SPDX-License-Identifier: GPL-2.0-or-later
"""The parts of ELF files that packing needs: the libraries of a program, and the dependencies of a kernel module.

ELF64, little endian (System V ABI, "Object Files" and "Dynamic Linking"). Sizes are bounded; every reader
raises ElfError for a damaged file.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from snp_harness.errors import BrokenEnvironmentError

_IDENT = b"\x7fELF\x02\x01\x01"
_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_PROGRAM_HEADER = struct.Struct("<IIQQQQQQ")
_SECTION_HEADER = struct.Struct("<IIQQQQIIQQ")
_DYNAMIC = struct.Struct("<qQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_SHT_SYMTAB = 2
_STT_FUNC = 2
_MAX_SYMBOLS = 1 << 20
_PT_LOAD = 1
_PT_DYNAMIC = 2
_DT_NEEDED = 1
_DT_STRTAB = 5
_DT_RPATH = 15
_DT_RUNPATH = 29
_MAX_ENTRIES = 4096
_MAX_STRING = 4096
_MODINFO = b".modinfo"
#: Exceptions that invalid numbers cause.
_DAMAGE = (struct.error, ValueError, IndexError, OverflowError)


class ElfError(BrokenEnvironmentError):
    """A file that is not an ELF file, or is damaged."""


@dataclass(frozen=True, slots=True)
class Dynamic:
    """needed: names of libraries. search: directories of DT_RUNPATH or DT_RPATH, unchanged."""

    needed: tuple[str, ...]
    search: tuple[str, ...]


def is_elf(data: bytes) -> bool:
    """Return whether data starts with the magic number of ELF."""
    return data.startswith(_IDENT)


def dynamic(data: bytes, name: str) -> Dynamic:
    """Return the dynamic section's libraries and paths; both empty for a static program. Raises ElfError."""
    try:
        return _dynamic(data)
    except _DAMAGE as error:
        raise ElfError(f"{name} is a damaged ELF file: {error}", "fetch its package again") from None


def module_info(data: bytes, name: str) -> dict[str, list[str]]:
    """Return a kernel module's .modinfo: the values of each key. Raises ElfError."""
    try:
        section = _section(data, _MODINFO)
    except _DAMAGE as error:
        raise ElfError(f"{name} is a damaged kernel module: {error}", "fetch its package again") from None
    found: dict[str, list[str]] = {}
    for field in section.split(b"\0"):
        key, equals, value = field.decode("utf-8", "replace").partition("=")
        if equals:
            found.setdefault(key, []).append(value)
    return found


def function_offset(data: bytes, function: str, name: str) -> int | None:
    """Return the file offset of a function in a relocatable module, None without it. Raises ElfError."""
    try:
        return _function_offset(data, function.encode())
    except _DAMAGE as error:
        raise ElfError(f"{name} is a damaged kernel module: {error}", "fetch its package again") from None


def _function_offset(data: bytes, function: bytes) -> int | None:
    _, _, _, _, _, at, _, _, _, _, size, count, _ = _header(data)
    sections = _table(data, _SECTION_HEADER, at, size, count)
    for _, kind, _, _, offset, length, link, *_ in sections:
        if kind != _SHT_SYMTAB:
            continue
        names = sections[link][4]
        for index in range(min(length // _SYMBOL.size, _MAX_SYMBOLS)):
            name, info, _, where, value, extent = _SYMBOL.unpack_from(data, offset + index * _SYMBOL.size)
            found = data[names + name : names + name + len(function) + 1] == function + b"\0"
            if found and info & 0xF == _STT_FUNC and 0 < where < count:
                start: int = sections[where][4] + value
                if not extent or start + extent > len(data):
                    raise ValueError("a function outside the file")
                return start
    return None


def _table(data: bytes, entry: struct.Struct, offset: int, size: int, count: int) -> list[tuple[int, ...]]:
    if count > _MAX_ENTRIES or size != entry.size:
        raise ValueError("an invalid table")
    return [entry.unpack_from(data, offset + size * index) for index in range(count)]


def _header(data: bytes) -> tuple[int, ...]:
    if not is_elf(data):
        raise ValueError("not a 64-bit little-endian ELF")
    fields: tuple[int, ...] = _HEADER.unpack_from(data)[1:]
    return fields


def _dynamic(data: bytes) -> Dynamic:
    _, _, _, _, at, _, _, _, size, count, _, _, _ = _header(data)
    segments = _table(data, _PROGRAM_HEADER, at, size, count)
    entries: list[tuple[int, int]] = []
    for kind, _, offset, _, _, file_size, _, _ in segments:
        if kind == _PT_DYNAMIC:
            for index in range(min(file_size // _DYNAMIC.size, _MAX_ENTRIES)):
                tag, value = _DYNAMIC.unpack_from(data, offset + index * _DYNAMIC.size)
                if tag == 0:
                    break
                entries.append((tag, value))
    if not entries:
        return Dynamic((), ())
    table = next((value for tag, value in entries if tag == _DT_STRTAB), None)
    if table is None:
        raise ValueError("no string table")
    strings = _file_offset(segments, table)
    search = [_string(data, strings + value) for tag, value in entries if tag in (_DT_RPATH, _DT_RUNPATH)]
    needed = tuple(_string(data, strings + value) for tag, value in entries if tag == _DT_NEEDED)
    return Dynamic(needed, tuple(path for paths in search for path in paths.split(":") if path))


def _file_offset(segments: list[tuple[int, ...]], address: int) -> int:
    for kind, _, offset, virtual, _, file_size, _, _ in segments:
        if kind == _PT_LOAD and virtual <= address < virtual + file_size:
            return address - virtual + offset
    raise ValueError(f"nothing is loaded at {address:#x}")


def _string(data: bytes, offset: int) -> str:
    end = data.find(b"\0", offset, offset + _MAX_STRING)
    if not 0 <= offset < len(data) or end < 0:
        raise ValueError("a string without end")
    return data[offset:end].decode("utf-8", "surrogateescape")


def _section(data: bytes, wanted: bytes) -> bytes:
    """Return a section's bytes, empty if there is no such section."""
    _, _, _, _, _, at, _, _, _, _, size, count, names = _header(data)
    sections = _table(data, _SECTION_HEADER, at, size, count)
    start = sections[names][4] if count else 0
    for name, _, _, _, offset, length, *_ in sections:
        if data[start + name : start + name + len(wanted) + 1] == wanted + b"\0":
            return data[offset : offset + length]
    return b""
