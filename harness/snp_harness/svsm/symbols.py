# SPDX-License-Identifier: GPL-2.0-or-later
"""The SVSM's symbols: a pc at VMPL0 as function and offset, from the ELF file that its IGVM file was made of."""

from __future__ import annotations

import re
import struct
from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path

from snp_harness.errors import UsageError

#: Bytes of a file that is read; COCONUT's kernel with debug information has 60 MiB.
SIZE_MAX = 512 << 20
#: ELF64, little endian (System V ABI, "Object Files"): the parts of the headers that lead to the symbol table.
_IDENT = b"\x7fELF\x02\x01\x01"
_HEADER = struct.Struct("<40xQ10xHH2x")
_SECTION = struct.Struct("<4xI16xQQI12xQ")
_SYMBOL = struct.Struct("<IBxHQQ")
_SHT_SYMTAB = 2
_STT_FUNC = 2
_SECTIONS_MAX = 4096
_SYMBOLS_MAX = 1 << 20
#: Characters of a symbol that are read; those of Rust have hundreds.
_SYMBOL_NAME_MAX = 1024
#: Bytes that a function without a size may extend over.
_UNSIZED_MAX = 1 << 16
#: Characters of a name that are shown.
_NAME_MAX = 120
#: Of a mangled name of Rust (RFC 2603; older names: nested names of the Itanium C++ ABI): what is not an identifier. A
#: disambiguator or a reference back is a number in base 62, whose digits are not a length.
_NUMBER = re.compile(r"[sB][0-9A-Za-z]*_")
_LENGTH = re.compile(r"u?([1-9][0-9]{0,3})_?")
_LEGACY_LENGTH = re.compile(r"([1-9][0-9]{0,3})")
_LEGACY_HASH = re.compile(r"h[0-9a-f]{16}")
_LEGACY_ESCAPES = (
    ("_$LT$", "<"),
    ("$LT$", "<"),
    ("$GT$", ">"),
    ("$u20$", " "),
    ("$C$", ","),
    ("$RF$", "&"),
    ("..", "::"),
)


class SymbolsError(UsageError):
    """A file that has no symbols of an SVSM."""


@dataclass(frozen=True, slots=True)
class Function:
    """A function of a symbol table. size: 0 if the table does not say it."""

    address: int
    size: int
    name: str


def functions(data: bytes) -> list[Function]:
    """Return the functions of an ELF file's symbol table, in its order. Raises ValueError for a damaged file."""
    try:
        return _functions(data)
    except (struct.error, IndexError, OverflowError) as error:
        raise ValueError(str(error)) from None


def _functions(data: bytes) -> list[Function]:
    at, size, count = _HEADER.unpack_from(data)
    if count > _SECTIONS_MAX or size != _SECTION.size:
        raise ValueError("an invalid table of sections")
    sections = [_SECTION.unpack_from(data, at + size * index) for index in range(count)]
    found = []
    for kind, offset, length, link, _ in sections:
        if kind != _SHT_SYMTAB:
            continue
        names = sections[link][1]
        for index in range(min(length // _SYMBOL.size, _SYMBOLS_MAX)):
            name, info, where, value, extent = _SYMBOL.unpack_from(data, offset + index * _SYMBOL.size)
            if info & 0xF == _STT_FUNC and where:
                text = data[names + name : names + name + _SYMBOL_NAME_MAX].partition(b"\0")[0]
                found.append(Function(value, extent, text.decode("utf-8", "replace")))
    return found


class SvsmSymbols:
    """Functions by address. An address between two functions, or far behind the last, has no name."""

    def __init__(self, found: list[Function]) -> None:
        found = sorted(found, key=lambda function: function.address)
        self._functions = found
        self._addresses = [function.address for function in found]

    @classmethod
    def open(cls, *paths: Path) -> SvsmSymbols:
        """Read ELF files, of a loader and of the kernel. Raises SymbolsError."""
        return cls([function for path in paths for function in _read(path)])

    def name(self, pc: int) -> str | None:
        """Return "function+1A", None for a pc outside all functions."""
        at = bisect_right(self._addresses, pc) - 1
        if at < 0:
            return None
        function = self._functions[at]
        offset = pc - function.address
        if offset >= (function.size or _UNSIZED_MAX):
            return None
        return f"{readable(function.name)}+{offset:X}"


def _read(path: Path) -> list[Function]:
    try:
        if path.stat().st_size > SIZE_MAX:
            raise SymbolsError(f"{path} has more than {SIZE_MAX >> 20} MiB", "name the SVSM's ELF file")
        data = path.read_bytes()
    except OSError as error:
        raise SymbolsError(f"cannot read {path}: {error.strerror}", "name the SVSM's ELF file") from None
    if not data.startswith(_IDENT):
        raise SymbolsError(f"{path} is not an ELF file", "name the one that the IGVM file was made of")
    try:
        found = functions(data)
    except ValueError as error:
        raise SymbolsError(f"{path} is a damaged ELF file: {error}", "build it again, or name another one") from None
    if not found:
        raise SymbolsError(f"{path} has no symbols: it was stripped", "name the one from before objcopy")
    return found


def readable(mangled: str) -> str:
    """Return a name of Rust as a path of identifiers; any other name as it is."""
    if mangled.startswith(("_ZN", "__ZN")):
        parts = _identifiers(mangled.partition("N")[2], _LEGACY_LENGTH)
        if parts and _LEGACY_HASH.fullmatch(parts[-1]):
            parts.pop()
        text = "::".join(parts)
        for escape, meaning in _LEGACY_ESCAPES:
            text = text.replace(escape, meaning)
    elif mangled.startswith("_R"):
        text = "::".join(_identifiers(mangled[2:], _LENGTH))
    else:
        text = mangled
    text = text or mangled
    return text if len(text) <= _NAME_MAX else text[: _NAME_MAX - 3] + "..."


def _identifiers(text: str, length: re.Pattern[str]) -> list[str]:
    """Return the identifiers, which have their lengths before them, in order; what is between them is left out."""
    found = []
    at = 0
    while at < len(text):
        if match := _NUMBER.match(text, at):
            at = match.end()
        elif match := length.match(text, at):
            at = match.end() + int(match[1])
            found.append(text[match.end() : at])
        else:
            at += 1
    return found
