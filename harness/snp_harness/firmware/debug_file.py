# SPDX-License-Identifier: GPL-2.0-or-later
"""A module's debug information: the ELF file with DWARF that edk2's GCC builds leave as MODULE.debug.

Addresses in it are those of the image from its base 0: offsets in the module.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from elftools.common.exceptions import DWARFError, ELFError
from elftools.construct.core import ConstructError
from elftools.dwarf.ranges import BaseAddressEntry
from elftools.elf.elffile import ELFFile

from snp_harness.apic.source_place import FRAMES_MAX, LINE_MAX, Frame
from snp_harness.firmware.firmware_modules import Module

#: Bytes of a file that is read; an OVMF's largest has 4 MiB.
SIZE_MAX = 64 << 20
#: Bytes of code that are compared.
_CODE_MAX = 16 << 20
#: Bounds on what is visited for one address.
_UNITS_MAX = 4096
_ENTRIES_MAX = 1 << 18
_ORIGINS_MAX = 8
_TEXT_MAX = 300
#: Directory of a package of edk2, where a path in its tree begins.
_PACKAGE = re.compile(r"(?:^|/)([A-Za-z0-9_]+Pkg/.*)", re.DOTALL)
_SCOPES = frozenset({"DW_TAG_subprogram", "DW_TAG_inlined_subroutine", "DW_TAG_lexical_block"})
#: What pyelftools raises for a damaged file.
_DAMAGED = (
    ELFError,
    DWARFError,
    ConstructError,
    AssertionError,
    AttributeError,
    IndexError,
    KeyError,
    NotImplementedError,
    OSError,
    OverflowError,
    RecursionError,
    TypeError,
    ValueError,
)


class DebugFileError(ValueError):
    """A file without usable debug information; the message says why."""


class DebugFile:
    """The debug information of one module. Raises DebugFileError for a file that is not one."""

    def __init__(self, path: Path) -> None:
        try:
            with path.open("rb") as file:
                data = file.read(SIZE_MAX + 1)
        except OSError as error:
            raise DebugFileError(str(error.strerror)) from None
        if len(data) > SIZE_MAX:
            raise DebugFileError(f"it has more than {SIZE_MAX >> 20} MiB")
        try:
            self._elf = ELFFile(io.BytesIO(data))
            text = self._elf.get_section_by_name(".text")
            if text is None or text["sh_type"] != "SHT_PROGBITS" or text["sh_size"] > _CODE_MAX:
                raise DebugFileError("it has no code to compare with the image's")
            if not self._elf.has_dwarf_info():
                raise DebugFileError("it has no debug information")
            self._entry: int = self._elf["e_entry"]
            self._address: int = text["sh_addr"]
            self._code: bytes = text.data()
            # The linker has applied the relocations that edk2's GCC builds keep.
            self._dwarf = self._elf.get_dwarf_info(relocate_dwarf_sections=False)
        except _DAMAGED as error:
            if isinstance(error, DebugFileError):
                raise
            raise DebugFileError("it is not an ELF file, or damaged") from None

    def belongs_to(self, module: Module) -> bool:
        """Return whether the module was made of this file: entry point and all code are equal."""
        if module.image is None or module.entry_rva != self._entry:
            return False
        return module.image.bytes_at(0, self._address, len(self._code)) == self._code

    def frames(self, offset: int) -> tuple[Frame, ...]:
        """Return the functions and lines of an offset in the module, the innermost first; () if none is known."""
        try:
            unit = self._unit(offset)
            return () if unit is None else self._frames(unit, offset)
        except _DAMAGED:
            return ()

    def _unit(self, address: int) -> Any:
        """The compilation unit of an address, None if there is none."""
        aranges = self._dwarf.get_aranges()
        if aranges is not None and (at := aranges.cu_offset_at_addr(address)) is not None:
            return self._dwarf.get_CU_at(at)
        for _, unit in zip(range(_UNITS_MAX), self._dwarf.iter_CUs(), strict=False):
            if self._covers(unit.get_top_DIE(), address):
                return unit
        return None

    def _frames(self, unit: Any, address: int) -> tuple[Frame, ...]:
        program = self._dwarf.line_program_for_CU(unit)
        row = _row(program, address)
        if row is None:
            return ()
        file, line = row
        frames = []
        for scope in reversed(self._scopes(unit, address)):
            if scope.tag == "DW_TAG_lexical_block":
                continue
            frames.append(_frame(_function(scope), program, file, line))
            if len(frames) == FRAMES_MAX or scope.tag == "DW_TAG_subprogram":
                break
            file, line = _value(scope, "DW_AT_call_file"), _value(scope, "DW_AT_call_line")
        return tuple(frames) or (_frame("?", program, file, line),)

    def _scopes(self, unit: Any, address: int) -> list[Any]:
        """The entries whose code has the address, the outermost first."""
        found: list[Any] = []
        visited = 0
        inside = unit.get_top_DIE()
        while inside is not None:
            parent, inside = inside, None
            for entry in parent.iter_children():
                visited += 1
                if visited > _ENTRIES_MAX:
                    return found
                if entry.tag in _SCOPES and self._covers(entry, address):
                    found.append(entry)
                    inside = entry
                    break
        return found

    def _covers(self, entry: Any, address: int) -> bool:
        return any(low <= address < high for low, high in self._ranges(entry))

    def _ranges(self, entry: Any) -> Iterator[tuple[int, int]]:
        attributes = entry.attributes
        if "DW_AT_high_pc" in attributes and "DW_AT_low_pc" in attributes:
            low, high = attributes["DW_AT_low_pc"].value, attributes["DW_AT_high_pc"]
            yield low, high.value if high.form == "DW_FORM_addr" else low + high.value
        elif "DW_AT_ranges" in attributes and (lists := self._dwarf.range_lists()) is not None:
            base = entry.cu.get_top_DIE().attributes.get("DW_AT_low_pc")
            start = base.value if base is not None else 0
            for item in lists.get_range_list_at_offset(attributes["DW_AT_ranges"].value, entry.cu):
                if isinstance(item, BaseAddressEntry):
                    start = item.base_address
                else:
                    shift = 0 if item.is_absolute else start
                    yield item.begin_offset + shift, item.end_offset + shift


def _row(program: Any, address: int) -> tuple[int, int] | None:
    """File and line of an address in a line number program; None if it has none."""
    before = None
    for entry in program.get_entries() if program is not None else ():
        state = entry.state
        if state is None:
            continue
        if before is not None and before.address <= address < state.address:
            return before.file, before.line
        before = None if state.end_sequence else state
    return None


def _frame(function: str, program: Any, file: int, line: int) -> Frame:
    if not 0 <= line <= LINE_MAX:
        raise ValueError("a line number out of range")
    return Frame(function, _file(program, file), line)


def _file(program: Any, number: int) -> str:
    """The path of a file of a line number program, from its package on."""
    header = program.header
    # DWARF 5 counts files from 0, older versions from 1 (sections 6.2.4, 6.2.4.1).
    new = header["version"] >= 5
    entry = header["file_entry"][number if new else number - 1]
    directories, at = header["include_directory"], entry["dir_index"]
    name = _text(entry["name"])
    if new or at:
        name = f"{_text(directories[at if new else at - 1])}/{name}"
    match = _PACKAGE.search(name)
    return match[1] if match else name


def _function(entry: Any) -> str:
    for _ in range(_ORIGINS_MAX):
        if (name := entry.attributes.get("DW_AT_name")) is not None:
            return _text(name.value)
        origin = next((key for key in ("DW_AT_abstract_origin", "DW_AT_specification") if key in entry.attributes), "")
        if not origin:
            break
        entry = entry.get_DIE_from_attribute(origin)
    return "?"


def _value(entry: Any, name: str) -> int:
    attribute = entry.attributes.get(name)
    return int(attribute.value) if attribute is not None else 0


def _text(value: Any) -> str:
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return text[:_TEXT_MAX]
